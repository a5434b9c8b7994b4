//! A relief that is painted first and lit afterwards.
//!
//! Every sample holds a colour, a label and its height above the wall. Shadows and bright edges follow from the heights
//! and the sun, so everything that is drawn throws its shadow on everything behind it.

use image::{Rgb as Pixel, RgbImage};

use crate::data::size::Size;

/// Number of samples taken on the way to the sun.
const SHADOW_STEPS: usize = 8;

/// Red, green and blue: from 0 to 1 as a colour, also above 1 as a factor for colours.
pub type Rgb = [f32; 3];

pub fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * t)
}

/// Returns the fractional part of `x`, from 0 to below 1 also for a negative `x`, for patterns that repeat at every 1.
pub fn fract(x: f32) -> f32 {
    x - x.floor()
}

pub fn scale(a: Rgb, by: f32) -> Rgb {
    a.map(|x| x * by)
}

/// A class of the label map. It is drawn in the colour that the CMP facade database gives it; roofs, which that
/// database counts as background, have a colour of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Background,
    Facade,
    Window,
    Door,
    Cornice,
    Sill,
    Balcony,
    Blind,
    Deco,
    Molding,
    Pillar,
    Shop,
    Roof,
}

impl Label {
    pub fn color(self) -> [u8; 3] {
        match self {
            Label::Background => [0, 0, 170],
            Label::Facade => [0, 0, 255],
            Label::Window => [0, 85, 255],
            Label::Door => [0, 170, 255],
            Label::Cornice => [0, 255, 255],
            Label::Sill => [85, 255, 170],
            Label::Balcony => [170, 255, 85],
            Label::Blind => [255, 255, 0],
            Label::Deco => [255, 170, 0],
            Label::Molding => [255, 85, 0],
            Label::Pillar => [255, 0, 0],
            Label::Shop => [170, 0, 0],
            Label::Roof => [85, 0, 0],
        }
    }
}

/// A rectangle from (left, top) to (right, bottom), in pixels of the finished picture; y grows downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Rect {
    pub fn new(left: f32, top: f32, right: f32, bottom: f32) -> Rect {
        Rect { left, top, right, bottom }
    }

    pub fn width(self) -> f32 {
        self.right - self.left
    }

    pub fn height(self) -> f32 {
        self.bottom - self.top
    }

    pub fn middle(self) -> f32 {
        (self.left + self.right) / 2.0
    }

    /// Returns the rectangle extended by `x` on the left and right, and by `y` above and below.
    pub fn grown(self, x: f32, y: f32) -> Rect {
        Rect::new(self.left - x, self.top - y, self.right + x, self.bottom + y)
    }
}

/// A sample of a painted facade: its colour, height above the wall and label. A pixel of the finished picture is the
/// mean of several samples.
#[derive(Clone, Copy)]
pub struct Texel {
    pub color: Rgb,
    /// Height above the wall, in pixels of the finished picture; windows lie below 0.
    pub height: f32,
    pub label: Label,
    /// True if sun and shadow touch it: false for the sky.
    pub lit: bool,
}

/// The sunlight on a facade: its direction, and its colours in light and shadow.
#[derive(Clone, Copy, Debug)]
pub struct Sun {
    /// Side of the sun: -1 left, 1 right.
    pub side: f32,
    /// Height that light loses per pixel on its way: the length of a shadow is its height times `1 / steepness`.
    pub steepness: f32,
    /// Colour factor of lit samples.
    pub tint: Rgb,
    /// Colour factor of samples in shadow.
    pub shade: Rgb,
}

pub struct Canvas {
    pub size: Size,
    /// The length that all details scale with: a 64th of the shorter side, in pixels of the finished picture.
    pub unit: f32,
    /// Samples along each side of a pixel.
    samples: usize,
    texels: Vec<Texel>,
}

impl Canvas {
    pub fn new(size: Size) -> Canvas {
        // Small pictures need more samples for a clean edge, and can afford them.
        let samples = if size.pixels() <= 128 * 128 { 3 } else { 2 };
        let blank = Texel { color: [0.0; 3], height: 0.0, label: Label::Background, lit: false };
        let unit = size.width.min(size.height) as f32 / 64.0;
        Canvas { size, unit, samples, texels: vec![blank; size.pixels() * samples * samples] }
    }

    /// Calls `brush(x, y, texel)` for every sample whose centre lies in `area`. `x` and `y` are the position of the
    /// centre, in pixels of the finished picture.
    pub fn draw(&mut self, area: Rect, mut brush: impl FnMut(f32, f32, &mut Texel)) {
        let samples = self.samples as f32;
        let (width, height) = (self.size.width * self.samples, self.size.height * self.samples);
        // The samples whose middles lie inside. The casts saturate at 0.
        let range = |from: f32, to: f32, end: usize| {
            ((from * samples - 0.5).ceil() as usize).min(end)..((to * samples - 0.5).ceil() as usize).min(end)
        };
        for row in range(area.top, area.bottom, height) {
            for column in range(area.left, area.right, width) {
                let (x, y) = ((column as f32 + 0.5) / samples, (row as f32 + 0.5) / samples);
                brush(x, y, &mut self.texels[row * width + column]);
            }
        }
    }

    /// Sets the label of the samples in `area`; their colours and heights stay.
    pub fn mark(&mut self, area: Rect, label: Label) {
        self.draw(area, |_, _, texel| texel.label = label);
    }

    /// Sets the height (in pixels of the finished picture) and the colour of the samples in `area`, and makes them lit;
    /// their labels stay.
    pub fn fill(&mut self, area: Rect, height: f32, color: Rgb) {
        self.draw(area, |_, _, texel| (texel.color, texel.height, texel.lit) = (color, height, true));
    }

    /// Lights the relief and averages the samples of every pixel. Returns the label map and the lit picture, in this
    /// order.
    pub fn finish(&self, sun: Sun) -> [RgbImage; 2] {
        let columns = self.size.width * self.samples;
        let relief = Relief::new(self, sun);
        let [mut map, mut picture] = [self.blank(), self.blank()];
        let (mut labels, mut colors) = (vec![[0; 3]; self.size.width], vec![[0.0; 3]; self.size.width]);
        for y in 0..self.size.height {
            labels.fill([0; 3]);
            colors.fill([0.0; 3]);
            for row in y * self.samples..(y + 1) * self.samples {
                let texels = &self.texels[row * columns..(row + 1) * columns];
                for (column, (texel, light)) in texels.iter().zip(relief.light(row)).enumerate() {
                    let (label, color) = (texel.label.color(), if texel.lit { light } else { [1.0; 3] });
                    for c in 0..3 {
                        labels[column / self.samples][c] += u32::from(label[c]);
                        colors[column / self.samples][c] += (texel.color[c] * color[c]).min(1.0);
                    }
                }
            }
            let count = (self.samples * self.samples) as u32;
            for (x, (label, color)) in labels.iter().zip(&colors).enumerate() {
                map.put_pixel(x as u32, y as u32, Pixel(label.map(|sum| (sum / count) as u8)));
                let color = color.map(|sum| (sum / count as f32 * 255.0).round() as u8);
                picture.put_pixel(x as u32, y as u32, Pixel(color));
            }
        }
        [map, picture]
    }

    fn blank(&self) -> RgbImage {
        RgbImage::new(self.size.width as u32, self.size.height as u32)
    }
}

/// The heights alone, continued beyond the edges, so that samples towards the sun need no bounds checks.
struct Relief {
    heights: Vec<f32>,
    /// Samples of padding on every side.
    margin: usize,
    columns: usize,
    sun: Sun,
    /// Samples that may block the sun: columns towards the sun, rows up, and the height of the light there.
    steps: [(usize, usize, f32); SHADOW_STEPS],
    /// One over the unit length.
    per_unit: f32,
}

impl Relief {
    fn new(canvas: &Canvas, sun: Sun) -> Relief {
        let (columns, rows) = (canvas.size.width * canvas.samples, canvas.size.height * canvas.samples);
        let reach = 4.0 * canvas.unit;
        let steps = std::array::from_fn(|step| {
            let way = reach * (step + 1) as f32 / SHADOW_STEPS as f32;
            let samples = way * canvas.samples as f32;
            ((0.6 * samples) as usize, (0.8 * samples) as usize, way * sun.steepness)
        });
        let margin = (reach * canvas.samples as f32) as usize + 1;
        let mut heights = Vec::with_capacity((columns + 2 * margin) * (rows + 2 * margin));
        for row in 0..rows + 2 * margin {
            let inside = row.saturating_sub(margin).min(rows - 1) * columns;
            let texels = &canvas.texels[inside..inside + columns];
            heights.extend(std::iter::repeat_n(texels[0].height, margin));
            heights.extend(texels.iter().map(|texel| texel.height));
            heights.extend(std::iter::repeat_n(texels[columns - 1].height, margin));
        }
        Relief { heights, margin, columns, sun, steps, per_unit: 1.0 / canvas.unit }
    }

    /// The heights along `row`, shifted by `dx` samples towards the sun and `dy` samples up; both may be negative.
    fn shifted_row(&self, row: usize, dx: isize, dy: isize) -> &[f32] {
        let dx = if self.sun.side < 0.0 { -dx } else { dx };
        let top = (row + self.margin).wrapping_add_signed(-dy);
        let start = (top * (self.columns + 2 * self.margin) + self.margin).wrapping_add_signed(dx);
        &self.heights[start..start + self.columns]
    }

    /// The light on every sample of a row, as factors of its colour.
    fn light(&self, row: usize) -> impl Iterator<Item = Rgb> {
        let here = self.shifted_row(row, 0, 0);
        let mut blocked = vec![0.0f32; self.columns];
        for &(dx, dy, rise) in &self.steps {
            let there = self.shifted_row(row, dx as isize, dy as isize);
            for ((blocked, &there), &here) in blocked.iter_mut().zip(there).zip(here) {
                *blocked = blocked.max(there - here - rise);
            }
        }
        let (sunny, lee) = (self.shifted_row(row, 1, 0), self.shifted_row(row, -1, 0));
        let (above, below) = (self.shifted_row(row, 0, 1), self.shifted_row(row, 0, -1));
        blocked.into_iter().enumerate().map(move |(x, blocked)| {
            // A slope that rises away from the sun faces it.
            let facing = 0.6 * (lee[x] - sunny[x]) + below[x] - above[x];
            let edge = 1.0 + 0.16 * (facing * self.per_unit).clamp(-1.0, 1.0);
            let shadow = (blocked * self.per_unit / 0.35).min(1.0);
            scale(mix(self.sun.tint, self.sun.shade, shadow), edge)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUN: Sun = Sun { side: -1.0, steepness: 0.5, tint: [1.0; 3], shade: [0.5; 3] };

    /// A wall with one block on it, standing 2 pixels out.
    fn block(sun: Sun) -> RgbImage {
        let mut canvas = Canvas::new(Size::square(64));
        canvas.fill(Rect::new(0.0, 0.0, 64.0, 64.0), 0.0, [0.6; 3]);
        canvas.fill(Rect::new(28.0, 28.0, 36.0, 36.0), 2.0, [0.6; 3]);
        let [_, picture] = canvas.finish(sun);
        picture
    }

    #[test]
    fn shadows_fall_away_from_the_sun() {
        for (side, lee, sunny) in [(-1.0, 36, 27), (1.0, 27, 36)] {
            let image = block(Sun { side, ..SUN });
            let at = |x: u32, y: u32| i32::from(image.get_pixel(x, y)[0]);
            assert!((at(5, 5) - 153).abs() <= 1, "the open wall is {}", at(5, 5));
            assert!(at(lee, 34) <= 80 && at(32, 36) <= 80, "in the shadow it is {} and {}", at(lee, 34), at(32, 36));
            assert!(at(sunny, 34) >= 130, "on the sunny side it is {}", at(sunny, 34));
        }
    }

    #[test]
    fn labels_are_flat_and_cover_what_was_marked() {
        let mut canvas = Canvas::new(Size { width: 48, height: 32 });
        canvas.mark(Rect::new(-5.0, 10.0, 7.0, 99.0), Label::Window);
        let [map, _] = canvas.finish(SUN);
        for (x, y, pixel) in map.enumerate_pixels() {
            let label = if x < 7 && y >= 10 { Label::Window } else { Label::Background };
            assert_eq!(pixel.0, label.color(), "at {x}, {y}");
        }
    }
}
