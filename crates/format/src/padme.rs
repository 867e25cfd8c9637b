//! Padmé: lengths that say little (Nikitin et al., PETS 2019, "Reducing Metadata Leakage from Encrypted Files").

/// The smallest Padmé length that is not below `len`: at most 12 % more, and fewer and fewer different lengths as they grow.
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let mantissa = exponent.ilog2() + 1;
    let mask = (1u64 << (exponent.saturating_sub(mantissa))) - 1;
    len.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::padme;

    #[test]
    fn padding_costs_at_most_an_eighth_and_never_shrinks() {
        for len in (1..5000).chain((0..60).map(|e| (1u64 << e) + e * 7 + 1)) {
            let padded = padme(len);
            assert!(padded >= len && padded - len <= len / 8 + 1, "{len} -> {padded}");
            assert_eq!(padme(padded), padded);
        }
        assert_eq!(padme(33 << 20), 33 << 20);
        assert_eq!(padme((33 << 20) + 1), 34 << 20);
    }
}
