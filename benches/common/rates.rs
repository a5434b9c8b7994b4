//! Time, with the rates of kernels: floating-point operations (which criterion calls elements) and bytes a second.

use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// [`WallTime`] with [`Rates`].
pub struct StepTime;

impl Measurement for StepTime {
    type Intermediate = <WallTime as Measurement>::Intermediate;
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {
        WallTime.start()
    }

    fn end(&self, start: Self::Intermediate) -> Duration {
        WallTime.end(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Rates
    }
}

/// `123.4 GFLOP/s` for elements, `45.6 GB/s` for bytes.
struct Rates;

impl Rates {
    /// The count of an execution, and the unit of its rate: a billion of anything in a second is one in a nanosecond.
    fn amount(throughput: &Throughput) -> (f64, &'static str) {
        match *throughput {
            Throughput::Elements(count) | Throughput::ElementsAndBytes { elements: count, .. } => {
                (count as f64, "GFLOP/s")
            }
            Throughput::Bytes(bytes) | Throughput::BytesDecimal(bytes) => (bytes as f64, "GB/s"),
            Throughput::Bits(bits) => (bits as f64, "Gbit/s"),
        }
    }
}

impl ValueFormatter for Rates {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let (amount, unit) = Rates::amount(throughput);
        values.iter_mut().for_each(|nanoseconds| *nanoseconds = amount / *nanoseconds);
        unit
    }

    /// Both rates where both are counted, as criterion's pages ask for them; for the terminal it asks for one at a
    /// time.
    fn format_throughput(&self, throughput: &Throughput, nanoseconds: f64) -> String {
        let rate = |throughput: Throughput| {
            let (amount, unit) = Rates::amount(&throughput);
            format!("{:.2} {unit}", amount / nanoseconds)
        };
        match *throughput {
            Throughput::ElementsAndBytes { elements, bytes } => {
                format!("{}, {}", rate(Throughput::Elements(elements)), rate(Throughput::BytesDecimal(bytes)))
            }
            ref one => rate(one.clone()),
        }
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
