//! A gradient that needs a value which has been overwritten since the forward pass is refused, whatever overwrote it.

use pixtape::engine::ops::activation::tanh;
use pixtape::engine::ops::adam::advance;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::norm_act::{Activation, Dropout, NormAct, norm_act};
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{Shape, Tensor};

const SHAPE: Shape = [2, 3, 3, 4];

/// Records `y = norm_act(x)` for a copy x of `given`, then what `between` does with x, then the gradient.
fn record(dropout: Option<Dropout>, between: impl FnOnce(&mut Tape, Tensor)) -> anyhow::Result<()> {
    let mut tape = Tape::new();
    let (given, dy) = (tape.persistent(SHAPE), tape.persistent(SHAPE));
    let (x, y) = (tape.transient(SHAPE), tape.transient(SHAPE));
    copy(&mut tape, given, x);
    norm_act(&mut tape, x, y, None, NormAct { norm: true, activation: Activation::Relu, dropout });
    between(&mut tape, x);
    tape.backward(&[&Upstream { y, dy }], &[given]).map(drop)
}

const DROPOUT: Option<Dropout> = Some(Dropout { probability: 0.5, layer: 0, pass: 0, first_image: 0, by_step: false });

#[test]
fn an_activation_that_is_written_again() {
    let rewrite = |channels: std::ops::Range<usize>| {
        move |tape: &mut Tape, x: Tensor| {
            let slice = x.channel_slice(channels);
            let other = tape.persistent(slice.shape);
            copy(tape, other, slice);
        }
    };
    for channels in [0..4, 3..4] {
        let error = record(None, rewrite(channels)).expect_err("x is gone").to_string();
        assert!(error.contains("copy has since overwritten"), "{error}");
    }
    record(None, |_, _| ()).expect("nothing has changed");
    let reads = |tape: &mut Tape, x: Tensor| {
        let other = tape.persistent(SHAPE);
        copy(tape, x, other);
    };
    record(None, reads).expect("x has only been read");
}

/// Two values in one buffer, one after the other, would share a gradient, so they are refused even where no gradient
/// needs them.
#[test]
fn two_values_in_one_buffer() {
    let record = |buffers: usize| {
        let mut tape = Tape::new();
        let given = tape.persistent(SHAPE);
        let x: Vec<Tensor> = (0..buffers).map(|_| tape.transient(SHAPE)).collect();
        let roots: Vec<Upstream> = (0..2)
            .map(|i| {
                let (dy, y) = (tape.persistent(SHAPE), tape.transient(SHAPE));
                copy(&mut tape, given, x[i % buffers]);
                tanh(&mut tape, x[i % buffers], y);
                Upstream { y, dy }
            })
            .collect();
        tape.backward(&[&roots[0], &roots[1]], &[given]).map(drop)
    };
    record(2).expect("each value has its buffer");
    let error = record(1).expect_err("the first value is gone").to_string();
    assert!(error.contains("copy has since overwritten"), "{error}");
}

/// The mask is drawn again from the step's number, which must still be the same.
#[test]
fn dropout_across_the_end_of_a_step() {
    let error = record(DROPOUT, |tape, _| advance(tape)).expect_err("the mask is another").to_string();
    assert!(error.contains("advance has since"), "{error}");
    record(None, |tape, _| advance(tape)).expect("nothing depends on the step's number");
    record(DROPOUT, |_, _| ()).expect("the step is the same");
}
