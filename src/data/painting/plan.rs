//! The plan of a facade: every choice, made before anything is drawn.
//!
//! A network can only guess what the label map does not show. So the choices depend on each other: the labels that
//! occur tell the family, and with it the material and its colours, and the door stands on the side that the sun shines
//! from.

use super::canvas::{Rgb, Sun, mix};
use crate::data::size::Size;
use crate::engine::philox::Stream;

/// A style of building, recognisable by its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Red brick under a parapet; decorated lintels.
    Brick,
    /// Warm plaster under a tiled roof; shutters.
    Ochre,
    /// Light plaster; windows framed in mouldings.
    Pale,
    /// Cut stone under a slate mansard; pilasters and arches.
    Stone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bars {
    /// Two panes over each other.
    Sash,
    /// Two wings and a transom.
    Casement,
    /// Small panes.
    Grid,
}

pub struct Plan {
    pub family: Family,
    pub sun: Sun,
    pub wall: Rgb,
    /// Colour of cornices, window frames and everything else made of light stone.
    pub trim: Rgb,
    /// Colour of shutters, doors and shop fronts.
    pub paint: Rgb,
    pub roof: Rgb,
    /// Left and right edge of the building, in pixels.
    pub sides: [f32; 2],
    /// Top of the roof, in pixels from the top of the picture.
    pub ridge: f32,
    /// Top of the wall, in pixels from the top of the picture.
    pub eaves: f32,
    /// Top of the pavement, in pixels from the top of the picture.
    pub ground: f32,
    /// Top edges of the storeys, from the highest to the lowest, and `ground`, in pixels.
    pub floors: Vec<f32>,
    /// Middle of every column of windows, in pixels from the left.
    pub columns: Vec<f32>,
    pub column_width: f32,
    /// Width of a window in pixels, and its height as a fraction of its storey.
    pub window: [f32; 2],
    pub bars: Bars,
    /// Column of the front door.
    pub door: usize,
    /// True if the rest of the ground floor is a shop.
    pub shop: bool,
    /// For every storey, true if it has balconies.
    pub balconies: Vec<bool>,
    /// For every storey, true if its windows are arched.
    pub arches: Vec<bool>,
    /// Cover of the sky by clouds: 0 is almost none, 1 almost all.
    pub clouds: f32,
}

impl Plan {
    pub fn draw(size: Size, stream: &mut Stream) -> Plan {
        let (width, height) = (size.width as f32, size.height as f32);
        let unit = width.min(height) / 64.0;
        // Edges lie between pixels, so that small pictures and their labels are crisp.
        let snap = |units: f32| (units * unit).round().max(1.0);

        let family = [Family::Brick, Family::Ochre, Family::Pale, Family::Stone][stream.below(4) as usize];
        let t = stream.uniform();
        let (wall, trim, roof) = match family {
            Family::Brick => (mix([0.56, 0.29, 0.22], [0.68, 0.41, 0.31], t), [0.88, 0.84, 0.76], [0.36, 0.33, 0.33]),
            Family::Ochre => (mix([0.87, 0.69, 0.43], [0.87, 0.61, 0.46], t), [0.93, 0.87, 0.76], [0.68, 0.36, 0.25]),
            Family::Pale => (mix([0.68, 0.76, 0.76], [0.80, 0.81, 0.73], t), [0.96, 0.95, 0.91], [0.50, 0.33, 0.28]),
            Family::Stone => (mix([0.76, 0.70, 0.59], [0.80, 0.75, 0.67], t), [0.89, 0.85, 0.76], [0.38, 0.43, 0.50]),
        };
        let t = stream.uniform();
        let paint = match family {
            Family::Brick => mix([0.16, 0.27, 0.24], [0.15, 0.22, 0.34], t),
            Family::Ochre => mix([0.24, 0.40, 0.31], [0.25, 0.43, 0.45], t),
            Family::Pale => mix([0.30, 0.40, 0.50], [0.45, 0.29, 0.24], t),
            Family::Stone => mix([0.37, 0.24, 0.15], [0.26, 0.20, 0.17], t),
        };

        let side = if stream.chance(0.5) { 1.0 } else { -1.0 };
        let noon = stream.uniform();
        let sun = Sun {
            side,
            steepness: 0.55 + 0.35 * noon,
            tint: mix([1.10, 1.01, 0.88], [1.06, 1.04, 1.00], noon),
            shade: mix([0.56, 0.57, 0.68], [0.62, 0.66, 0.76], noon),
        };

        let mut margin = || {
            let margin = stream.range(-4.0, 8.0);
            if margin < 2.0 { 0.0 } else { snap(margin) }
        };
        let sides = [margin(), width - margin()];
        let ground = height - snap(stream.range(3.5, 6.0));
        let ridge = snap(stream.range(4.0, 9.0));
        let eaves = ridge
            + match family {
                Family::Brick => 0.0,
                Family::Ochre => snap(stream.range(5.0, 7.5)),
                Family::Pale => snap(stream.range(3.0, 5.0)),
                Family::Stone => snap(stream.range(8.0, 11.0)),
            };

        // The lowest storey is a quarter higher than the others.
        let storey = stream.range(10.5, 14.0) * unit;
        let storeys = ((ground - eaves) / storey - 0.25).round().max(2.0);
        let storey = (ground - eaves) / (storeys + 0.25);
        let mut floors: Vec<f32> = (0..storeys as usize).map(|i| (eaves + storey * i as f32).round()).collect();
        floors.push(ground);
        let storeys = storeys as usize;

        let count = ((sides[1] - sides[0]) / (storey * stream.range(0.85, 1.15))).round().max(2.0);
        let column_width = (sides[1] - sides[0]) / count;
        let columns: Vec<f32> = (0..count as usize).map(|i| sides[0] + column_width * (i as f32 + 0.5)).collect();
        let nth = stream.below(columns.len() as u32 / 2) as usize;
        let door = if side < 0.0 { nth } else { columns.len() - 1 - nth };

        let share = match family {
            // Shutters need room beside the window.
            Family::Ochre => stream.range(0.34, 0.42),
            _ => stream.range(0.42, 0.56),
        };
        let window = [(column_width * share).round().max(2.0), stream.range(0.52, 0.62)];
        let bars = [Bars::Sash, Bars::Casement, Bars::Grid][stream.below(3) as usize];
        let shop = family != Family::Stone && stream.chance(0.4);
        let balcony = match family {
            Family::Brick => 0.0,
            Family::Ochre => 0.4,
            Family::Pale => 0.25,
            Family::Stone => 0.45,
        };
        let balconies = (0..storeys).map(|i| i + 1 < storeys && stream.chance(balcony)).collect();
        let arched = family == Family::Stone || (family == Family::Brick && stream.chance(0.3));
        let arches = (0..storeys).map(|i| arched && (i == 0 || i + 1 == storeys || stream.chance(0.3))).collect();
        let clouds = stream.range(0.1, 0.7);
        Plan {
            family,
            sun,
            wall,
            trim,
            paint,
            roof,
            sides,
            ridge,
            eaves,
            ground,
            floors,
            columns,
            column_width,
            window,
            bars,
            door,
            shop,
            balconies,
            arches,
            clouds,
        }
    }
}
