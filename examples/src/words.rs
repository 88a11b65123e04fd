//! How programs say amounts.

/// `1 303.600 sat`, of millisatoshis.
#[must_use]
pub fn sat(msat: u64) -> String {
    let whole = (msat / 1_000).to_string();
    let digits = whole.as_bytes();
    let mut grouped = String::new();
    for (n, digit) in digits.iter().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(char::from(*digit));
    }
    format!("{grouped}.{:03} sat", msat % 1_000)
}
