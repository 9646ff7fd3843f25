//! Where one answer ends and the next begins, in a stream that may hold any bytes: at a mark that is
//! drawn for each session, after the guest wrote what it wrote.

use std::io;
use std::io::Read;

/// So much is read at a time.
const PIECE: usize = 64 * 1024;

/// The answers of a session, one after the other.
pub(super) struct Answers<R> {
    from: R,
    mark: Vec<u8>,
    held: Vec<u8>,
    /// So much of what is held was given.
    start: usize,
    /// So much after that is known to be of the present answer.
    clear: usize,
}

impl<R: Read> Answers<R> {
    pub(super) fn new(from: R, mark: Vec<u8>) -> Self {
        Self {
            from,
            mark,
            held: Vec::new(),
            start: 0,
            clear: 0,
        }
    }

    /// The next one. It must be read to its end before the next.
    pub(super) fn next(&mut self) -> Answer<'_, R> {
        Answer {
            of: self,
            ended: false,
        }
    }

    /// Looks at what is held. Whether the mark is the first of it.
    fn look(&mut self) -> bool {
        let held = &self.held[self.start..];
        let first = self.mark[0];
        let mut from = 0;
        while let Some(at) = held[from..].iter().position(|byte| *byte == first) {
            let at = from + at;
            let rest = &held[at..];
            if rest.starts_with(&self.mark) {
                self.clear = at;
                return at == 0;
            }
            if rest.len() < self.mark.len() && self.mark.starts_with(rest) {
                self.clear = at;
                return false;
            }
            from = at + 1;
        }
        self.clear = held.len();
        false
    }

    fn fill(&mut self) -> io::Result<()> {
        self.held.drain(..self.start);
        self.start = 0;
        let before = self.held.len();
        self.held.resize(before + PIECE, 0);
        let read = loop {
            match self.from.read(&mut self.held[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.held.truncate(before + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// One answer: its bytes, and an end.
pub(super) struct Answer<'a, R> {
    of: &'a mut Answers<R>,
    ended: bool,
}

impl<R: Read> Read for Answer<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.ended {
            return Ok(0);
        }
        while self.of.clear == 0 {
            if self.of.look() {
                self.of.start += self.of.mark.len();
                self.ended = true;
                return Ok(0);
            }
            if self.of.clear == 0 {
                self.of.fill()?;
            }
        }
        let length = self.of.clear.min(into.len());
        let start = self.of.start;
        into[..length].copy_from_slice(&self.of.held[start..start + length]);
        self.of.start += length;
        self.of.clear -= length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Drip(Vec<u8>, usize);

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(into.len());
            into[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            Ok(length)
        }
    }

    #[test]
    fn answers_end_at_the_mark_however_they_come() {
        let mark = b"\x1emark\n".to_vec();
        let first = b"\x1e\x1emar\x1emark\x00\xff \x1emar".to_vec();
        for pace in [1, 2, 3, 7, 100] {
            let mut all = first.clone();
            for piece in [&mark[..], &mark, b"second", &mark, b"cut off"] {
                all.extend_from_slice(piece);
            }
            let mut answers = Answers::new(Drip(all, pace), mark.clone());
            let mut read = || {
                let mut found = Vec::new();
                answers.next().read_to_end(&mut found).map(|_| found)
            };
            assert_eq!(read().expect("it has an end"), first, "{pace}");
            assert_eq!(read().expect("it has an end"), b"");
            assert_eq!(read().expect("it has an end"), b"second");
            let cut = read().expect_err("it has no end");
            assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
