//! Ids and passwords, from the system's random numbers.

use rand::TryRng as _;
use rand::rngs::SysRng;
use valkeeper_client::Password;
use valkeeper_plan::placement::Ids;

/// Draws ids from the system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn draw(&mut self) -> [u8; 20] {
        let mut bytes = [0; 20];
        fill(&mut bytes);
        bytes
    }
}

/// A password of 32 letters and digits: 190 bits.
pub fn password() -> Password {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(32);
    while text.len() < 32 {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        // 248 is the largest multiple of 62 in a byte: what is above would favour the first letters.
        let letters =
            bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(LETTERS[usize::from(*byte % 62)]));
        text.extend(letters.take(32 - text.len()));
    }
    Password::new(text)
}

fn fill(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("every system we run on has random numbers");
}
