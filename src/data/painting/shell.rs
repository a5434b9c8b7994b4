//! The shell of the building and its surroundings: sky, street, roof, walls and the bands along them.

use super::canvas::{Canvas, Label, Rect, Rgb, Texel, fract, mix, scale};
use super::grain::Grain;
use super::plan::{Family, Plan};

pub fn draw(canvas: &mut Canvas, plan: &Plan, grain: &Grain) {
    surroundings(canvas, plan, grain);
    roof(canvas, plan, grain);
    wall(canvas, plan, grain);
    bands(canvas, plan);
}

/// Sky with clouds, trees beside the building, pavement and road before it.
fn surroundings(canvas: &mut Canvas, plan: &Plan, grain: &Grain) {
    let unit = canvas.unit;
    let (width, height) = (canvas.size.width as f32, canvas.size.height as f32);
    let [left, right] = plan.sides;
    let beside = |top: f32| [Rect::new(0.0, top, left, plan.ground), Rect::new(right, top, width, plan.ground)];
    let sky = |x: f32, y: f32, texel: &mut Texel| {
        let sky = mix([0.40, 0.60, 0.86], [0.83, 0.90, 0.95], y / plan.ground);
        let (u, v) = (x / (14.0 * unit), y / (6.0 * unit));
        let cloud = 0.7 * grain.smooth(u, v) + 0.3 * grain.smooth(2.3 * u + 9.0, 2.3 * v);
        texel.color = mix(sky, [0.97, 0.97, 0.98], ((cloud + plan.clouds - 0.2) * 1.4).clamp(0.0, 0.8));
    };
    let trees = |x: f32, y: f32, texel: &mut Texel| {
        let crown = plan.ground - (9.5 + 3.0 * grain.smooth(x / (3.0 * unit), 30.5)) * unit;
        if y > crown {
            let leaf = grain.smooth(1.3 * x / unit, 1.3 * y / unit);
            let light = 0.78 + 0.2 * leaf + 0.25 * ((plan.ground - y) / (12.0 * unit)).min(1.0);
            texel.color = scale([0.30, 0.43, 0.22], light);
        }
    };
    canvas.draw(Rect::new(0.0, 0.0, width, plan.eaves), sky);
    for area in beside(plan.eaves) {
        canvas.draw(area, sky);
    }
    for area in beside(plan.ground - 14.0 * unit) {
        canvas.draw(area, trees);
    }
    let kerb = (plan.ground + height) / 2.0;
    canvas.draw(Rect::new(0.0, plan.ground, width, height), |x, y, texel| {
        let speck = 1.0 + 0.04 * grain.smooth(x / unit, 2.0 * y / unit);
        let slab = fract(x / (6.0 * unit)) < 0.08;
        texel.color = match (y < kerb, y < kerb + 0.6 * unit) {
            (true, _) => scale([0.66, 0.64, 0.61], if slab { 0.88 } else { speck }),
            (_, true) => [0.78, 0.77, 0.74],
            _ => scale([0.33, 0.34, 0.37], speck),
        };
        texel.color = scale(texel.color, 0.80 + 0.20 * ((y - plan.ground) / (1.5 * unit)).min(1.0));
    });
}

/// Roof and chimneys, as far as they stand above the wall.
fn roof(canvas: &mut Canvas, plan: &Plan, grain: &Grain) {
    let unit = canvas.unit;
    let [left, right] = plan.sides;
    // Chimneys stand above windows' piers, the taller one away from the sun.
    let (lee, high) = (if plan.sun.side < 0.0 { 0.82 } else { 0.18 }, plan.ridge - 2.5 * unit);
    for (at, top) in [(lee, high), (1.0 - lee, high + 1.0 * unit)] {
        let x = left + (right - left) * at;
        let stack = Rect::new(x - 1.7 * unit, top, x + 1.7 * unit, plan.eaves);
        chimney(canvas, plan, stack);
    }
    let (width, high) = (canvas.size.width as f32, plan.eaves - plan.ridge);
    if high <= 0.0 {
        return;
    }
    // The lean of the roof on both sides, and the height of a row of tiles.
    let (lean, row) = match plan.family {
        Family::Stone => (1.5 * unit, 1.3 * unit),
        _ => (0.8 * high, 1.6 * unit),
    };
    canvas.draw(Rect::new(left, plan.ridge, right, plan.eaves), |x, y, texel| {
        let inset = lean * (plan.eaves - y) / high;
        // A side of the roof is out of the picture if that side of the building is.
        if (left > 0.0 && x - left < inset) || (right < width && right - x < inset) {
            return;
        }
        let v = (y - plan.ridge) / row;
        let (course, down) = (v.floor(), fract(v));
        let u = x / (1.8 * unit) + 0.5 * (course % 2.0);
        let tone = 1.0 + 0.07 * grain.at(u.floor() as i32, course as i32) + 0.16 * (down - 0.5);
        let light = if plan.family == Family::Stone { 0.98 } else { 1.08 };
        texel.color = scale(plan.roof, tone * light);
        (texel.height, texel.label, texel.lit) = (-0.4 * unit, Label::Roof, true);
    });
    // A bright ridge.
    let inset = |seen: bool| if seen { lean } else { 0.0 };
    let (from, to) = (left + inset(left > 0.0), right - inset(right < width));
    let ridge = Rect::new(from, plan.ridge, to, plan.ridge + 0.7 * unit);
    canvas.fill(ridge, 0.2 * unit, scale(plan.roof, 1.15));
}

fn chimney(canvas: &mut Canvas, plan: &Plan, stack: Rect) {
    let unit = canvas.unit;
    let brick = mix(plan.wall, [0.55, 0.33, 0.26], 0.6);
    canvas.mark(stack, Label::Roof);
    canvas.fill(stack, 0.5 * unit, brick);
    canvas.fill(Rect { bottom: stack.top + unit, ..stack }, 0.9 * unit, scale(plan.trim, 0.85));
}

/// The wall in its material, down to the pavement.
fn wall(canvas: &mut Canvas, plan: &Plan, grain: &Grain) {
    let unit = canvas.unit;
    let [left, right] = plan.sides;
    let ground_floor = plan.floors[plan.floors.len() - 2];
    // A course of bricks is as low as pixels allow.
    let course = (1.1 * unit).max(2.0);
    canvas.draw(Rect::new(left, plan.eaves, right, plan.ground), |x, y, texel| {
        let (color, height) = match plan.family {
            Family::Brick => bricks(plan.wall, (x - left) / course, (plan.ground - y) / course, grain),
            Family::Stone => {
                // Larger blocks with deeper joints carry the ground floor.
                let block = if y > ground_floor { [9.0, 4.0, 0.6] } else { [7.0, 3.5, 0.3] };
                blocks(plan.wall, (x - left) / unit, (plan.ground - y) / unit, block, grain)
            }
            Family::Ochre | Family::Pale => {
                let stain = grain.smooth(x / (5.0 * unit), y / (9.0 * unit));
                let fine = grain.smooth(x / (0.8 * unit), y / (0.8 * unit));
                (scale(plan.wall, 1.0 + 0.03 * stain + 0.015 * fine), 0.0)
            }
        };
        // Rain and the street darken the lowest part.
        let soot = ((plan.ground - y) / (12.0 * unit)).min(1.0);
        texel.color = scale(color, 0.88 + 0.12 * soot);
        (texel.height, texel.label, texel.lit) = (height * unit, Label::Facade, true);
    });
    let plinth = Rect::new(left, plan.ground - (1.8 * unit).round().max(1.0), right, plan.ground);
    canvas.fill(plinth, 0.5 * unit, mix(scale(plan.trim, 0.7), plan.wall, 0.3));
}

/// A running bond, with every length in courses: colour, and height above the wall.
fn bricks(wall: Rgb, x: f32, y: f32, grain: &Grain) -> (Rgb, f32) {
    let (course, up) = (y.floor(), fract(y));
    let u = x / 2.5 + 0.5 * (course % 2.0);
    if up < 0.25 || fract(u) < 0.1 {
        return (mix(wall, [0.80, 0.74, 0.68], 0.45), -0.1);
    }
    (scale(wall, 1.0 + 0.10 * grain.at(u.floor() as i32, course as i32)), 0.0)
}

/// Cut blocks of `[width, height, joint]`.
fn blocks(wall: Rgb, x: f32, y: f32, [width, height, joint]: [f32; 3], grain: &Grain) -> (Rgb, f32) {
    let (course, up) = ((y / height).floor(), fract(y / height) * height);
    let u = x / width + 0.5 * (course % 2.0);
    if up < joint || fract(u) * width < joint {
        return (scale(wall, 0.84), -joint);
    }
    let tone = 0.045 * grain.at(u.floor() as i32, course as i32) + 0.02 * grain.smooth(x, y);
    (scale(wall, 1.0 + tone), 0.0)
}

/// Cornices, string courses and pilasters.
fn bands(canvas: &mut Canvas, plan: &Plan) {
    let unit = canvas.unit;
    let snap = |units: f32| (units * unit).round().max(1.0);
    let [left, right] = plan.sides;
    let storeys = plan.floors.len() - 1;
    let ground_floor = plan.floors[storeys - 1];
    let full_width = |top: f32, high: f32| Rect::new(left, top, right, top + high);
    if plan.family == Family::Stone {
        let half = snap(1.0);
        let edges = (0..=plan.columns.len()).step_by(2).map(|i| left + plan.column_width * i as f32);
        for x in edges {
            let x = x.round().clamp(left + half, right - half);
            let shaft = Rect::new(x - half, plan.eaves, x + half, ground_floor);
            canvas.mark(shaft, Label::Pillar);
            canvas.fill(shaft, 0.9 * unit, plan.trim);
            let base = Rect { top: shaft.bottom - 1.2 * unit, ..shaft };
            canvas.fill(base, 1.2 * unit, scale(plan.trim, 0.96));
        }
    }
    if plan.family == Family::Pale {
        for &floor in &plan.floors[1..storeys] {
            canvas.mark(full_width(floor, snap(0.8)), Label::Molding);
            canvas.fill(full_width(floor, snap(0.8)), 0.7 * unit, plan.trim);
        }
    }
    let band = full_width(ground_floor - snap(0.7), snap(1.5));
    canvas.mark(band, Label::Cornice);
    canvas.fill(band, 1.1 * unit, plan.trim);
    // The cornice below the roof, in two steps with dentils under them.
    let cornice = full_width(plan.eaves, snap(2.4));
    canvas.mark(cornice, Label::Cornice);
    canvas.draw(cornice, |x, y, texel| {
        let down = (y - cornice.top) / cornice.height();
        let dentil = fract(x / (1.6 * unit)) < 0.55;
        let (height, tone) = match (down < 0.5, dentil) {
            (true, _) => (2.0, 1.0),
            (_, true) => (1.4, 0.97),
            _ => (0.7, 0.86),
        };
        (texel.color, texel.height, texel.lit) = (scale(plan.trim, tone), height * unit, true);
    });
}
