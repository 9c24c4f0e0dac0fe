//! Keys and values of a load: made from a counter, so that the ledger holds numbers instead of texts.

use super::wire::append_bulk;
use valkeeper_model::Slot;

/// Digits of the counter in a key; also the shortest value.
pub(super) const DIGITS: usize = 12;

/// How one writer's keys and values are made. All its keys are in one slot.
#[derive(Debug, Clone)]
pub(super) struct KeySpace {
    slot: Slot,
    key: Vec<u8>,
    value: Vec<u8>,
    set: Vec<u8>,
    key_at: usize,
    value_at: usize,
}

impl KeySpace {
    pub(super) fn new(prefix: &str, slot: Slot, writer: usize, value_size: usize) -> Self {
        let key = format!("{prefix}:{{{}}}:{writer}:{:0DIGITS$}", tag_of(slot), 0).into_bytes();
        let mut value = vec![b'0'; DIGITS];
        value.resize(value_size.max(DIGITS), b'.');
        let mut set = b"*3\r\n$3\r\nSET\r\n".to_vec();
        append_bulk(&mut set, &key);
        let key_at = set.len() - 2 - DIGITS;
        append_bulk(&mut set, &value);
        let value_at = set.len() - 2 - value.len();
        Self { slot, key, value, set, key_at, value_at }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Appends the `SET` of that number.
    pub(super) fn append_set(&self, bytes: &mut Vec<u8>, number: u64) {
        let start = bytes.len();
        bytes.extend_from_slice(&self.set);
        write_digits(&mut bytes[start + self.key_at..][..DIGITS], number);
        write_digits(&mut bytes[start + self.value_at..][..DIGITS], number);
    }

    pub(super) fn key(&self, number: u64) -> Vec<u8> {
        let mut key = self.key.clone();
        let at = key.len() - DIGITS;
        write_digits(&mut key[at..], number);
        key
    }

    pub(super) fn is_value(&self, number: u64, bytes: &[u8]) -> bool {
        let mut digits = [0; DIGITS];
        write_digits(&mut digits, number);
        bytes.len() == self.value.len()
            && bytes.starts_with(&digits)
            && bytes[DIGITS..] == self.value[DIGITS..]
    }
}

fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        // A remainder of ten is one digit.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// A hash tag in that slot. One in 16384 numbers is, so the search is short.
fn tag_of(slot: Slot) -> u64 {
    // With two million numbers, the chance that one slot gets none is e^-122.
    (0..2_000_000_u64).find(|number| Slot::of_key(number.to_string().as_bytes()) == slot).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_slot_and_values_are_recognised() {
        for number in [0, 1, 9000, 16383] {
            let slot = Slot::try_from(number).unwrap();
            let keys = KeySpace::new("p", slot, 3, 20);
            assert_eq!(Slot::of_key(&keys.key(42)), slot);
            let mut bytes = Vec::new();
            keys.append_set(&mut bytes, 42);
            let text = String::from_utf8(bytes).unwrap();
            let key = String::from_utf8(keys.key(42)).unwrap();
            assert!(key.ends_with(":3:000000000042"));
            assert_eq!(
                text,
                format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$20\r\n000000000042........\r\n", key.len())
            );
            assert!(keys.is_value(42, b"000000000042........"));
            assert!(!keys.is_value(42, b"000000000041........") && !keys.is_value(42, b"000000000042"));
        }
    }
}
