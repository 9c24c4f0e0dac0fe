//! Quantities and durations as Kubernetes writes them.

/// A text that is no quantity or duration, and what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a {what}", super::printable(.text))]
pub struct InvalidUnit {
    text: String,
    what: &'static str,
    hint: &'static str,
}

impl InvalidUnit {
    /// How to write it.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// A decimal number as digits and how many of them are behind the point.
struct Decimal {
    digits: u128,
    scale: u32,
}

/// The number at the start of `text` and what follows it. At most 18 digits, so that no product overflows.
fn leading_decimal(text: &str) -> Option<(Decimal, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 18 || fraction.contains('.') {
        return None;
    }
    let scale = u32::try_from(fraction.len()).ok()?;
    Some((Decimal { digits: digits.parse().ok()?, scale }, rest))
}

/// A Kubernetes quantity of bytes: `256Mi`, `1.5Gi`, `100M`, `1e9`, `1048576`. Parts of a byte are rounded up, as
/// Kubernetes does.
pub fn parse_quantity_bytes(text: &str) -> Result<u64, InvalidUnit> {
    let hint = "write a number of bytes with a unit such as Mi or Gi, for example 512Mi";
    let wrong = || InvalidUnit { text: text.to_owned(), what: "quantity of bytes", hint };
    let (number, unit) = leading_decimal(text.strip_prefix('+').unwrap_or(text)).ok_or_else(wrong)?;
    let factor: u128 = match unit {
        "" | "m" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        _ => {
            let exponent = unit.strip_prefix(['e', 'E']).ok_or_else(wrong)?;
            10u128.pow(
                exponent
                    .strip_prefix('+')
                    .unwrap_or(exponent)
                    .parse()
                    .ok()
                    .filter(|e| *e <= 18)
                    .ok_or_else(wrong)?,
            )
        }
    };
    let divisor = 10u128.pow(number.scale) * if unit == "m" { 1_000 } else { 1 };
    u64::try_from((number.digits * factor).div_ceil(divisor)).map_err(|_| wrong())
}

/// Bytes as the engine writes them in its configuration: `100mb` (1024 each), `1g` (1000 each), `1048576`; `None` if it would not take
/// it.
pub fn parse_engine_bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A duration such as `15s`, `500ms`, `1m30s` or `1.5s`, in milliseconds. A bare number is refused: it says no unit.
pub fn parse_duration_ms(text: &str) -> Result<u64, InvalidUnit> {
    let hint = "write a number with a unit (ms, s, m, h), for example 15s or 500ms";
    let wrong = || InvalidUnit { text: text.to_owned(), what: "duration", hint };
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = leading_decimal(rest).ok_or_else(wrong)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let factor: u128 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let (scaled, divisor) = (number.digits * factor, 10u128.pow(number.scale));
        if scaled % divisor != 0 {
            return Err(wrong());
        }
        total += scaled / divisor;
        rest = next;
    }
    u64::try_from(total).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_the_engine_reads_them() {
        for (text, bytes) in
            [("0", 0), ("100", 100), ("1k", 1_000), ("2MB", 2 << 20), ("1gb", 1 << 30), ("5b", 5)]
        {
            assert_eq!(parse_engine_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "256Mi", "1Gi", "abc", "12%", "100 mb", "-1", "99999999999gb"] {
            assert_eq!(parse_engine_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("+5", 5),
            ("256Mi", 256 << 20),
            ("1.5Gi", 3 << 29),
            (".5Ki", 512),
            ("1.Ki", 1024),
            ("100M", 100_000_000),
            ("1k", 1000),
            ("1e9", 1_000_000_000),
            ("1E3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("1e+3", 1000),
            ("1500m", 2),
            ("0.1", 1),
            ("15Ei", 15 << 60),
        ] {
            assert_eq!(parse_quantity_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "", " ", "Mi", "-1", "1 Gi", "1Gi ", "1gb", "1KI", "1..2", "1.2.3", "16Ei", "1e19", "1e-3", "1e",
            "١", "0x10",
        ] {
            assert!(parse_quantity_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in
            [("0", 0), ("500ms", 500), ("15s", 15_000), ("1m30s", 90_000), ("1.5s", 1500), ("2h", 7_200_000)]
        {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for text in
            ["", "15", "s", "15 s", "-1s", "1d", "0.5ms", "1s30", "1µs", "999999999999999999h", "1s 2s"]
        {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }
}
