//! Pictures of screens: read, judged, and written as PNG.

use std::collections::BTreeMap;

use png::BitDepth;
use png::ColorType;
use png::Decoder;
use png::Encoder;
use png::Transformations;

/// What a PPM begins with.
const PPM: &[u8] = b"P6";
/// Of so many pixels one must have another colour than most.
const ONE_IN: usize = 50;

/// A picture, three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Reads a PNG or a PPM. An error is a fragment.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let picture = if bytes.starts_with(PPM) {
            ppm(bytes)
        } else {
            png(bytes)
        }?;
        let pixels = u64::from(picture.width) * u64::from(picture.height);
        if pixels == 0 || u64::try_from(picture.rgb.len()) != Ok(pixels * 3) {
            return Err("it is cut off".to_owned());
        }
        Ok(picture)
    }

    /// One colour fills all but less than 2 % of it: nothing is shown.
    pub(super) fn is_flat(&self) -> bool {
        let mut colours: BTreeMap<&[u8], usize> = BTreeMap::new();
        for pixel in self.rgb.chunks_exact(3) {
            *colours.entry(pixel).or_default() += 1;
        }
        let all: usize = colours.values().sum();
        let most = colours.values().max().copied().unwrap_or(0);
        (all - most) * ONE_IN < all
    }

    /// As PNG. An error is a fragment.
    pub(super) fn png(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        let written = encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.rgb));
        written.map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let why = |error: png::DecodingError| error.to_string();
    let mut decoder = Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(why)?;
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut data = vec![0; size];
    let info = reader.next_frame(&mut data).map_err(why)?;
    data.truncate(info.buffer_size());
    let rgb = match info.color_type {
        ColorType::Rgb => data,
        ColorType::Rgba => data
            .chunks_exact(4)
            .flat_map(|p| [p[0], p[1], p[2]])
            .collect(),
        ColorType::Grayscale => data.iter().flat_map(|p| [*p; 3]).collect(),
        ColorType::GrayscaleAlpha => data.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        ColorType::Indexed => return Err("its colours are not told".to_owned()),
    };
    Ok(Picture {
        width: info.width,
        height: info.height,
        rgb,
    })
}

/// As QEMU writes it: the head's words, one white space, and the pixels.
fn ppm(bytes: &[u8]) -> Result<Picture, String> {
    let mut rest = &bytes[PPM.len()..];
    let mut number = || -> Option<u32> {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let end = start + rest[start..].iter().position(u8::is_ascii_whitespace)?;
        let word = std::str::from_utf8(&rest[start..end]).ok()?;
        rest = &rest[end + 1..];
        word.parse().ok()
    };
    match (number(), number(), number()) {
        (Some(width), Some(height), Some(255)) => Ok(Picture {
            width,
            height,
            rgb: rest.to_vec(),
        }),
        _ => Err("its head makes no sense".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dotted(pixels: usize) -> Picture {
        let mut rgb = vec![0; 100 * 10 * 3];
        rgb[..pixels * 3].fill(0xaa);
        Picture {
            width: 100,
            height: 10,
            rgb,
        }
    }

    #[test]
    fn a_screen_that_shows_nothing_is_told() {
        for (pixels, flat) in [
            (0, true),
            (19, true),
            (20, false),
            (980, false),
            (981, true),
        ] {
            assert_eq!(dotted(pixels).is_flat(), flat, "{pixels} of 1000");
        }
        let mut many = dotted(0);
        for (n, byte) in many.rgb.iter_mut().enumerate() {
            *byte = u8::try_from(n % 251).expect("it is less");
        }
        assert!(
            !many.is_flat(),
            "no colour of a photograph fills much of it"
        );
    }

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let picture = dotted(300);
        let mut text = b"P6\n100 10\n255\n".to_vec();
        text.extend(&picture.rgb);
        assert_eq!(Picture::read(&text), Ok(picture.clone()));
        let written = picture.png().expect("written");
        assert_eq!(Picture::read(&written), Ok(picture));
        text.pop();
        for broken in [
            &text[..],
            &written[..40],
            b"P6\n1 1\n65535\n......",
            b"",
            b"GIF89a",
        ] {
            Picture::read(broken).expect_err("it is no picture");
        }
    }
}
