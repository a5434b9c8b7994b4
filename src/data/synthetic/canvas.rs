//! A relief that is painted first and lit afterwards.
//!
//! Every sample holds a colour, a label and how far it stands out of the wall. Shadows and bright edges then follow from
//! the heights and the sun, so everything that is drawn throws its shadow on whatever lies behind it.

use image::{Rgb as Pixel, RgbImage};

use crate::data::{Pair, Size};

/// Red, green and blue from 0 to 1.
pub type Rgb = [f32; 3];

pub fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * t)
}

pub fn scale(a: Rgb, by: f32) -> Rgb {
    a.map(|x| x * by)
}

/// What a label map tells apart, with the colours of the CMP facade database. Roofs, which that database counts as
/// background, have a colour of their own.
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

/// From (left, top) to (right, bottom), in pixels of the finished picture.
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

    /// Larger by `x` to both sides and by `y` above and below.
    pub fn grown(self, x: f32, y: f32) -> Rect {
        Rect::new(self.left - x, self.top - y, self.right + x, self.bottom + y)
    }
}

/// One sample of the relief.
#[derive(Clone, Copy)]
pub struct Texel {
    pub color: Rgb,
    /// How far it stands out of the wall, in pixels of the finished picture; windows lie below 0.
    pub height: f32,
    pub label: Label,
    /// Whether sun and shadow touch it: not the sky.
    pub lit: bool,
}

/// Where the light comes from.
#[derive(Clone, Copy, Debug)]
pub struct Sun {
    /// -1 from the left, 1 from the right.
    pub side: f32,
    /// Height that light loses per pixel on its way: shadows are `1 / steepness` as long as what throws them is high.
    pub steepness: f32,
    /// The colour of what it shines on.
    pub tint: Rgb,
    /// The colour of what lies in shadow.
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

/// Places looked at on the way to the sun.
const SHADOW_STEPS: usize = 8;

impl Canvas {
    pub fn new(size: Size) -> Canvas {
        // Small pictures need more samples for a clean edge, and can afford them.
        let samples = if size.pixels() <= 128 * 128 { 3 } else { 2 };
        let blank = Texel { color: [0.0; 3], height: 0.0, label: Label::Background, lit: false };
        let unit = size.width.min(size.height) as f32 / 64.0;
        Canvas { size, unit, samples, texels: vec![blank; size.pixels() * samples * samples] }
    }

    /// Calls `brush` with the place (in pixels of the finished picture) and the texel of every sample in `area`.
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

    /// Labels `area`.
    pub fn mark(&mut self, area: Rect, label: Label) {
        self.draw(area, |_, _, texel| texel.label = label);
    }

    /// Paints `area` at one height in one colour.
    pub fn fill(&mut self, area: Rect, height: f32, color: Rgb) {
        self.draw(area, |_, _, texel| (texel.color, texel.height, texel.lit) = (color, height, true));
    }

    /// Lights the relief and averages the samples of every pixel: labels are the input, the lit picture the target.
    pub fn finish(&self, sun: Sun) -> Pair {
        let (width, height) = (self.size.width as u32, self.size.height as u32);
        let samples = self.samples as u32;
        let share = 1.0 / (samples * samples) as f32;
        let mut pair = Pair { input: RgbImage::new(width, height), target: RgbImage::new(width, height) };
        for (x, y, input) in pair.input.enumerate_pixels_mut() {
            let (mut label, mut color) = ([0; 3], [0.0; 3]);
            for (i, j) in (0..samples).flat_map(|j| (0..samples).map(move |i| (i, j))) {
                let (column, row) = ((x * samples + i) as usize, (y * samples + j) as usize);
                let of_sample = self.at(column as i32, row as i32).label.color();
                let lit = self.lit(column, row, sun);
                for c in 0..3 {
                    label[c] += u32::from(of_sample[c]);
                    color[c] += lit[c];
                }
            }
            *input = Pixel(label.map(|sum| (sum / (samples * samples)) as u8));
            pair.target.put_pixel(x, y, Pixel(color.map(|sum| (sum * share * 255.0).round() as u8)));
        }
        pair
    }

    /// The texel at a sample, or the nearest one inside.
    fn at(&self, column: i32, row: i32) -> &Texel {
        let (width, height) = ((self.size.width * self.samples) as i32, (self.size.height * self.samples) as i32);
        &self.texels[(row.clamp(0, height - 1) * width + column.clamp(0, width - 1)) as usize]
    }

    /// The colour of a sample in the light of `sun`.
    fn lit(&self, column: usize, row: usize, sun: Sun) -> Rgb {
        let (x, y) = (column as i32, row as i32);
        let texel = self.at(x, y);
        if !texel.lit {
            return texel.color;
        }
        // A slope that rises away from the sun faces it.
        let across = (self.at(x - 1, y).height - self.at(x + 1, y).height) * sun.side;
        let along = self.at(x, y + 1).height - self.at(x, y - 1).height;
        let edge = 1.0 + 0.16 * ((0.6 * across - along) / self.unit).clamp(-1.0, 1.0);
        let reach = 4.0 * self.unit * self.samples as f32 / SHADOW_STEPS as f32;
        let mut shadow = 0.0f32;
        for step in 1..=SHADOW_STEPS {
            let way = reach * step as f32;
            let blocker = self.at(x + (0.6 * sun.side * way) as i32, y - (0.8 * way) as i32);
            let over = blocker.height - texel.height - way / self.samples as f32 * sun.steepness;
            shadow = shadow.max(over / (0.35 * self.unit));
        }
        let light = mix(sun.tint, sun.shade, shadow.min(1.0));
        [0, 1, 2].map(|c| (texel.color[c] * light[c] * edge).min(1.0))
    }
}
