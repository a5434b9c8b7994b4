//! `pixtape data`: pairs joined, divided, made and fetched.

mod fetch;
mod fetch_bounds;
mod make;
mod pair;
pub mod server;
mod split;

use super::scene::Scene;

/// Asserts that `line` is refused in one line that holds all `words`, and nothing is written.
#[track_caller]
fn refused(scene: &Scene, line: &str, words: &[&str]) {
    let error = scene.refused(line);
    for word in words {
        assert!(error.contains(word), "{word} is missing: {error}");
    }
}
