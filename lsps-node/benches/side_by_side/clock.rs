//! Thread CPU time, so that other work of the machine is not counted.

use std::hint::black_box;

use cpu_time::ThreadTime;

/// Returns the nanoseconds per piece of work, and the result of the work.
pub fn per_piece<T>(pieces: usize, work: impl FnOnce() -> T) -> (f64, T) {
    let begun = ThreadTime::now();
    let result = black_box(work());
    let nanos = u64::try_from(begun.elapsed().as_nanos()).expect("less than 500 years");
    #[expect(clippy::cast_precision_loss, reason = "statistics")]
    (nanos as f64 / pieces as f64, result)
}

/// Median of the samples, in nanoseconds.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Measures the works in turns, so that a disturbance affects all of them. Returns the median of each.
pub fn in_turns<const N: usize>(works: [&dyn Fn(); N]) -> [f64; N] {
    let mut samples = [const { vec![] }; N];
    for _ in 0..SAMPLES {
        for (times, work) in samples.iter_mut().zip(works) {
            times.push(per_piece(CALLS, || (0..CALLS).for_each(|_| work())).0);
        }
    }
    samples.map(median)
}

const SAMPLES: usize = 31;
const CALLS: usize = 500;
