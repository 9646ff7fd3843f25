//! Reads how far qemu-img is: `    (12.34/100%)` and a carriage return, again and again.

/// What was printed since the last complete figure.
#[derive(Default)]
pub(super) struct Progress {
    rest: Vec<u8>,
}

impl Progress {
    /// Takes a piece of output and returns the newest figure in it, in hundredths of a percent.
    pub(super) fn take(&mut self, piece: &[u8]) -> Option<u64> {
        self.rest.extend_from_slice(piece);
        let end = self.rest.iter().rposition(|byte| *byte == b'%')?;
        let line: Vec<u8> = self.rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line);
        let (_, figure) = text.rsplit_once('(')?;
        figure.split_once('/')?.0.replace('.', "").parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_may_come_in_pieces() {
        let mut progress = Progress::default();
        assert_eq!(progress.take(b"    (0.00/100%)\r    (12."), Some(0));
        assert_eq!(progress.take(b"50/1"), None);
        assert_eq!(progress.take(b"00%)\r    (25.00/100%)\r"), Some(2500));
        assert_eq!(progress.take(b"    (100.00/100%)\r\n"), Some(10_000));
    }
}
