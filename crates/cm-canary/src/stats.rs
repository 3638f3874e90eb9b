//! The statistics of the canary. Pure functions over counts and samples; what their
//! results mean for a deployment is decided in [`super::rules`].

/// One side of a comparison of shares: `hits` of `total`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// How many did it.
    pub hits: u32,
    /// Of how many.
    pub total: u32,
}

impl Share {
    /// The share, between 0 and 1; 0 of nothing is 0.
    pub fn rate(self) -> f64 {
        f64::from(self.hits) / f64::from(self.total.max(1))
    }
}

/// How likely chance alone makes the new share as large as it is, if both sides do it
/// equally often: Fisher's exact test, one-sided, with the mid-p correction.
pub fn fisher(new: Share, old: Share) -> f64 {
    let (n, m, k) = (new.total, old.total, new.hits + old.hits);
    let all = log_choose(n + m, k);
    let likelihood = |hits: u32| (log_choose(n, hits) + log_choose(m, k - hits) - all).exp();
    let most = k.min(n);
    let more: f64 = (new.hits + 1..=most).map(likelihood).sum();
    (more + likelihood(new.hits) / 2.0).min(1.0)
}

/// What two samples' ranks say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranks {
    /// How likely chance alone makes the new values rank as high, if there is no difference.
    pub p: f64,
    /// The effect size: the probability that a new value is larger than an old one.
    pub larger: f64,
}

/// The Mann–Whitney U test, one-sided (new values are larger), with the normal
/// approximation corrected for ties; both samples should have 20 values or more.
pub fn mann_whitney(new: &[f64], old: &[f64]) -> Ranks {
    let (n, m) = (new.len() as f64, old.len() as f64);
    if new.is_empty() || old.is_empty() {
        return Ranks { p: 1.0, larger: 0.5 };
    }
    let mut all: Vec<(f64, bool)> = new.iter().map(|x| (*x, true)).chain(old.iter().map(|x| (*x, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let size = group.len() as f64;
        let rank = before + (size + 1.0) / 2.0;
        rank_sum += rank * group.iter().filter(|(_, is_new)| *is_new).count() as f64;
        ties += size.powi(3) - size;
        before += size;
    }
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    let z = if variance > 0.0 { (u - n * m / 2.0 - 0.5) / variance.sqrt() } else { 0.0 };
    Ranks { p: upper_tail(z), larger: u / (n * m) }
}

/// All pairs of larger samples are too many; every so-and-so-manyth value stands for its
/// adjacent ones.
const PAIRED: usize = 200;

/// How many times as large the new values are: the Hodges–Lehmann estimate on a
/// logarithmic scale, the median of all ratios of a new to an old value. Both are sorted.
pub fn ratio(new: &[f64], old: &[f64]) -> f64 {
    let few =
        |values: &[f64]| -> Vec<f64> { values.iter().step_by(values.len().div_ceil(PAIRED).max(1)).copied().collect() };
    let (new, old) = (few(new), few(old));
    let mut ratios: Vec<f64> =
        new.iter().flat_map(|x| old.iter().map(move |y| x.max(f64::MIN_POSITIVE) / y.max(f64::MIN_POSITIVE))).collect();
    let middle = ratios.len() / 2;
    if ratios.is_empty() {
        return 1.0;
    }
    *ratios.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The nearest-rank quantile of sorted values.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The smallest rate of which more than `allowed` hits in `total` are seen with
/// probability `confidence`; for none allowed that is about 3 / total at 95 %.
pub fn smallest_seen(allowed: u32, total: u32, confidence: f64) -> Option<f64> {
    if allowed >= total {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if at_most(allowed, total, middle) > 1.0 - confidence { low = middle } else { high = middle }
    }
    Some(high)
}

/// The probability of at most `hits` in `total` at `rate` (binomial).
pub fn at_most(hits: u32, total: u32, rate: f64) -> f64 {
    if rate <= 0.0 {
        return 1.0;
    }
    let term = |k: u32| {
        let failures = if rate < 1.0 { f64::from(total - k) * (1.0 - rate).ln() } else { f64::NEG_INFINITY };
        (log_choose(total, k) + f64::from(k) * rate.ln() + failures).exp()
    };
    (0..=hits.min(total)).map(term).sum::<f64>().min(1.0)
}

fn log_choose(n: u32, k: u32) -> f64 {
    if k > n {
        return f64::NEG_INFINITY;
    }
    log_factorial(n) - log_factorial(k) - log_factorial(n - k)
}

/// Stirling's series; exact products where it is not good enough.
fn log_factorial(n: u32) -> f64 {
    if n < 16 {
        return (2..=n).map(f64::from).product::<f64>().ln();
    }
    let x = f64::from(n);
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + (2.0 * std::f64::consts::PI * x).ln() / 2.0 + series
}

/// The probability that a standard normal value is larger than `z`
/// (Numerical Recipes' `erfc`, relative error below 1.2e-7).
fn upper_tail(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let terms = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let polynomial = terms.iter().rev().fold(0.0, |sum, term| sum * t + term);
    let tail = t * (-x * x + polynomial).exp() / 2.0;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= wanted.abs() * 1e-3 + 1e-9, "{found}, wanted {wanted}");
    }

    /// Wanted are exact sums of binomial coefficients, and the error function of C's library.
    #[test]
    fn the_tests_agree_with_those_of_others() {
        let share = |hits, total| Share { hits, total };
        near(fisher(share(50, 500), share(25, 500)), 0.001_336_4);
        near(fisher(share(3, 200), share(0, 600)), 0.007_724_6);
        near(fisher(share(0, 20), share(0, 20)), 0.5);
        near(upper_tail(1.96), 0.024_997_9);
        near(upper_tail(-1.0), 0.841_344_7);
        near(at_most(2, 500, 0.01), 0.123_385_8);
        let ranks = mann_whitney(&[3.0, 4.0, 2.0, 6.0, 2.0, 5.0], &[9.0, 7.0, 5.0, 10.0, 6.0, 8.0]);
        near(ranks.larger, 2.0 / 36.0);
        near(ranks.p, 0.996_047_3);
    }

    #[test]
    fn the_smallest_visible_rate_is_the_rule_of_three() {
        near(smallest_seen(0, 300, 0.95).expect("some"), 0.009_936_1);
        near(smallest_seen(0, 20, 0.95).expect("some"), 0.139_108_3);
        assert_eq!(smallest_seen(20, 20, 0.95), None);
    }

    #[test]
    fn a_ratio_is_what_the_values_were_multiplied_with() {
        let old: Vec<f64> = (1..=99).map(f64::from).collect();
        let new: Vec<f64> = old.iter().map(|x| x * 1.5).collect();
        near(ratio(&new, &old), 1.5);
        assert_eq!((quantile(&old, 0.95), quantile(&old, 0.5), quantile(&[], 0.5)), (Some(95.0), Some(50.0), None));
    }
}
