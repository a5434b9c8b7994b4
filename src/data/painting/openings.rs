//! Windows, doors and shops, with the sills, shutters, lintels and balconies that belong to them.

use super::canvas::{Canvas, Label, Rect, Rgb, fract, mix, scale};
use super::plan::{Bars, Family, Plan};
use crate::engine::philox::Stream;

const IRON: Rgb = [0.15, 0.16, 0.18];
const LINEN: Rgb = [0.90, 0.87, 0.80];

pub fn draw(canvas: &mut Canvas, plan: &Plan, stream: &mut Stream) {
    let storeys = plan.floors.len() - 1;
    for storey in 0..storeys {
        for column in 0..plan.columns.len() {
            match (storey + 1 == storeys, column == plan.door, plan.shop) {
                (true, true, _) => door(canvas, plan),
                (true, false, true) => {}
                _ => bay(canvas, plan, storey, column, stream),
            }
        }
    }
    if plan.shop {
        let [left, right] = plan.sides;
        let reach = |column: usize| left + plan.column_width * column as f32;
        shop(canvas, plan, left, reach(plan.door));
        shop(canvas, plan, reach(plan.door + 1), right);
    }
    if plan.family == Family::Stone {
        for &middle in &plan.columns {
            dormer(canvas, plan, middle);
        }
    }
}

/// A length in units, rounded to whole pixels, at least one.
fn snap(canvas: &Canvas, units: f32) -> f32 {
    (units * canvas.unit).round().max(1.0)
}

/// A window with everything that belongs to it.
fn bay(canvas: &mut Canvas, plan: &Plan, storey: usize, column: usize, stream: &mut Stream) {
    let unit = canvas.unit;
    let (top, bottom) = (plan.floors[storey], plan.floors[storey + 1]);
    let [width, share] = plan.window;
    let high = ((bottom - top) * share).round().max(3.0);
    let left = (plan.columns[column] - width / 2.0).round();
    let railed = plan.balconies[storey];
    // The highest windows keep clear of the cornice, with their lintels.
    let clear = if storey == 0 { snap(canvas, 2.4) + snap(canvas, 1.4) } else { 0.0 };
    let head = (top + (bottom - top - high) * 0.5).round().max(top + clear);
    // A window becomes a door where there is a balcony to step on.
    let foot = if railed { bottom - snap(canvas, 1.2) } else { (head + high).min(bottom - snap(canvas, 1.2)) };
    let area = Rect::new(left, head, left + width, foot);
    let arch = plan.arches[storey];
    let edge = snap(canvas, 0.8);
    match plan.family {
        Family::Pale => {
            let frame = Rect { bottom: area.bottom, ..area.grown(edge, edge) };
            canvas.mark(frame, Label::Molding);
            canvas.fill(frame, 0.5 * unit, plan.trim);
            if storey + 2 == plan.floors.len() - 1 {
                pediment(canvas, plan, frame);
            }
        }
        Family::Brick => {
            let lintel = Rect::new(area.left - edge, area.top - snap(canvas, 1.3), area.right + edge, area.top);
            canvas.mark(lintel, Label::Deco);
            canvas.draw(lintel, |x, _, texel| {
                // Stones set on edge, the middle one as the key.
                let key = ((x - lintel.middle()) / unit).abs() < 0.8;
                let color = scale(plan.trim, if key { 1.0 } else { 0.90 });
                (texel.color, texel.height, texel.lit) = (color, if key { 0.8 } else { 0.3 } * unit, true);
            });
        }
        Family::Ochre | Family::Stone => {
            // A plain rim, which the label map does not show.
            canvas.fill(area.grown(0.5 * unit, 0.5 * unit), 0.2 * unit, plan.trim);
        }
    }
    window(canvas, plan, area, arch, stream.chance(0.35));
    if !railed {
        let sill = Rect::new(area.left - edge, area.bottom, area.right + edge, area.bottom + edge);
        canvas.mark(sill, Label::Sill);
        canvas.fill(sill, 1.2 * unit, scale(plan.trim, 1.03));
    }
    if plan.family == Family::Ochre {
        let leaf = (width * 0.5).round().max(1.0);
        shutter(canvas, plan, Rect { left: area.left - leaf, right: area.left, ..area });
        shutter(canvas, plan, Rect { left: area.right, right: area.right + leaf, ..area });
    }
    if railed {
        balcony(canvas, plan, area);
    }
}

/// Frame, bars and glass. Under an arch the head of the window is half an ellipse.
fn window(canvas: &mut Canvas, plan: &Plan, area: Rect, arch: bool, curtains: bool) {
    let unit = canvas.unit;
    let frame = 0.6 * unit;
    let rise = if arch { (area.width() / 2.0).min(0.4 * area.height()) } else { 0.0 };
    let inside = |x: f32, y: f32, by: f32| {
        let area = area.grown(-by, -by);
        let (u, v) = ((x - area.middle()) / (area.width() / 2.0), (area.top + rise - y) / rise.max(1e-3));
        u.abs() < 1.0 && y > area.top && y < area.bottom && (v <= 0.0 || u * u + v * v < 1.0)
    };
    let wood = if plan.family == Family::Stone { mix(plan.paint, LINEN, 0.55) } else { [0.95, 0.94, 0.91] };
    canvas.draw(area, |x, y, texel| {
        if !inside(x, y, 0.0) {
            return;
        }
        let (u, v) = ((x - area.left) / area.width(), (y - area.top) / area.height());
        let near = |position: f32, at: f32, length: f32| ((position - at) * length).abs() < 0.28 * unit;
        let bar = match plan.bars {
            Bars::Sash => near(v, 0.5, area.height()),
            Bars::Casement => near(u, 0.5, area.width()) || near(v, 0.3, area.height()),
            Bars::Grid => near(u, 0.5, area.width()) || [0.34, 0.67].iter().any(|&at| near(v, at, area.height())),
        };
        (texel.label, texel.lit) = (Label::Window, true);
        (texel.color, texel.height) = if bar || !inside(x, y, frame) {
            (wood, -0.7 * unit)
        } else {
            let drawn = curtains && (u - 0.5).abs() > 0.24 + 0.1 * v;
            (glass(plan, x, y, u, v, drawn), -1.3 * unit)
        };
    });
}

/// Colour of a pane: a dark room, curtains if they are drawn, and over it the sky, the more the higher the window.
fn glass(plan: &Plan, x: f32, y: f32, u: f32, v: f32, drawn: bool) -> Rgb {
    let room = if drawn { scale(LINEN, 0.72) } else { mix([0.13, 0.16, 0.21], [0.20, 0.19, 0.19], v) };
    let up = ((plan.ground - y) / (plan.ground - plan.eaves)).clamp(0.0, 1.0);
    // A streak that leans away from the sun.
    let slant = if plan.sun.side < 0.0 { u } else { 1.0 - u } + 0.7 * v;
    let streak = if (0.45..0.85).contains(&slant) { 0.24 } else { 0.0 };
    let drift = 0.06 * ((x + y) / (plan.sides[1] - plan.sides[0]) - 0.7);
    mix(room, [0.62, 0.75, 0.88], 0.10 + 0.28 * up * (1.0 - 0.5 * v) + streak + drift)
}

fn pediment(canvas: &mut Canvas, plan: &Plan, frame: Rect) {
    let unit = canvas.unit;
    let area = Rect::new(frame.left - unit, frame.top - snap(canvas, 2.2), frame.right + unit, frame.top);
    canvas.draw(area, |x, y, texel| {
        let slope = (x - area.middle()).abs() / (area.width() / 2.0);
        let down = (y - area.top) / area.height();
        if down > 0.8 * slope {
            let rim = down < 0.8 * slope + 0.35 || down > 0.75;
            let (color, height) = if rim { (plan.trim, 1.3) } else { (scale(plan.trim, 0.86), 0.6) };
            (texel.color, texel.height, texel.label, texel.lit) = (color, height * unit, Label::Deco, true);
        }
    });
}

/// An open shutter with slats.
fn shutter(canvas: &mut Canvas, plan: &Plan, area: Rect) {
    let unit = canvas.unit;
    canvas.draw(area, |x, y, texel| {
        let rim = (x - area.left).min(area.right - x).min((y - area.top).min(area.bottom - y)) < 0.4 * unit;
        let slat = fract((y - area.top) / (1.2 * unit));
        let tone = if rim { 1.05 } else { 0.82 + 0.4 * slat };
        texel.color = scale(plan.paint, tone);
        (texel.height, texel.label, texel.lit) = (0.6 * unit, Label::Blind, true);
    });
}

/// A slab with a railing before the lower part of a window: iron bars, or balusters on a house of stone.
fn balcony(canvas: &mut Canvas, plan: &Plan, window: Rect) {
    let unit = canvas.unit;
    let over = snap(canvas, 1.3);
    let slab = snap(canvas, 1.0);
    let top = (window.bottom - 0.42 * window.height()).round();
    let area = Rect::new(window.left - over, top, window.right + over, window.bottom + slab);
    canvas.mark(area, Label::Balcony);
    let stone = plan.family == Family::Stone;
    let (color, period, share, rail) = if stone { (plan.trim, 1.7, 0.6, 0.8) } else { (IRON, 1.35, 0.36, 0.45) };
    let floor = area.bottom - slab;
    canvas.draw(Rect { bottom: floor, ..area }, |x, y, texel| {
        let post = fract((x - area.left) / (period * unit) - 0.3) < share;
        let end = (x - area.left).min(area.right - x) < rail * unit;
        if post || end || y < area.top + rail * unit || y > floor - 0.4 * unit {
            (texel.color, texel.height, texel.lit) = (color, 1.6 * unit, true);
        }
    });
    canvas.fill(Rect { top: floor, ..area }, 2.6 * unit, scale(plan.trim, 0.97));
}

/// The front door in its frame, two leaves under a fanlight.
fn door(canvas: &mut Canvas, plan: &Plan) {
    let unit = canvas.unit;
    let storey = plan.floors[plan.floors.len() - 2];
    let width = (plan.window[0] * 1.15).round().max(3.0);
    let left = (plan.columns[plan.door] - width / 2.0).round();
    let top = (storey + (plan.ground - storey) * 0.27).round();
    let area = Rect::new(left, top, left + width, plan.ground);
    let edge = snap(canvas, 1.0);
    let frame = Rect { bottom: area.bottom, ..area.grown(edge, edge) };
    canvas.mark(frame, Label::Door);
    canvas.fill(frame, 0.8 * unit, plan.trim);
    let light = area.top + 0.24 * area.height();
    canvas.draw(area, |x, y, texel| {
        let (u, v) = ((x - area.left) / area.width(), (y - light) / (area.bottom - light));
        let gap = ((u - 0.5) * area.width()).abs() < 0.25 * unit;
        let wing = fract(2.0 * u);
        let panel = (0.2..0.8).contains(&wing) && ((0.08..0.42).contains(&v) || (0.52..0.88).contains(&v));
        (texel.color, texel.height) = match (y < light - 0.5 * unit, y < light, gap) {
            (true, _, false) => (glass(plan, x, y, u, 0.5, false), -1.4 * unit),
            (true, ..) | (_, true, _) => (plan.trim, -0.6 * unit),
            (_, _, true) => (scale(plan.paint, 0.5), -1.2 * unit),
            _ if panel => (scale(plan.paint, 0.85), -1.2 * unit),
            _ => (scale(plan.paint, 1.15), -0.9 * unit),
        };
        texel.lit = true;
    });
}

/// A shop front from `left` to `right`: signboard, awning, lit windows over a low wall.
fn shop(canvas: &mut Canvas, plan: &Plan, left: f32, right: f32) {
    let unit = canvas.unit;
    let storey = plan.floors[plan.floors.len() - 2];
    let gap = snap(canvas, 1.0);
    let area = Rect::new((left + gap).round(), storey + 2.0 * gap, (right - gap).round(), plan.ground);
    if area.width() < 5.0 * unit {
        return;
    }
    canvas.mark(area, Label::Shop);
    let (sign, riser) = (area.top + 0.24 * area.height(), area.bottom - 0.16 * area.height());
    let panes = (area.width() / (7.0 * unit)).round().max(1.0);
    canvas.draw(area, |x, y, texel| {
        let u = (x - area.left) / area.width();
        let pane = fract(u * panes);
        let post = (pane - 0.5).abs() * area.width() / panes > area.width() / panes / 2.0 - 0.5 * unit;
        let letter = (fract(x / (1.1 * unit)) < 0.6) && (u - 0.5).abs() < 0.3;
        let line = ((y - area.top) / (sign - area.top) - 0.5).abs() < 0.22;
        (texel.color, texel.height) = match (y < sign, y > riser || post) {
            (true, _) if letter && line => ([0.93, 0.86, 0.66], 1.0 * unit),
            (true, _) => (plan.paint, 1.0 * unit),
            (_, true) => (scale(plan.paint, 1.1), 0.4 * unit),
            _ => {
                let v = (y - sign) / (riser - sign);
                (mix([0.95, 0.78, 0.48], glass(plan, x, y, pane, v, false), 0.45 + 0.25 * v), -0.4 * unit)
            }
        };
        texel.lit = true;
    });
    let awning = Rect::new(area.left, sign, area.right, sign + 0.22 * area.height());
    canvas.draw(awning, |x, y, texel| {
        let stripe = fract((x - area.left) / (3.0 * unit)) < 0.5;
        let down = (y - awning.top) / awning.height();
        let color = if stripe { mix(plan.paint, [0.75, 0.25, 0.2], 0.5) } else { [0.94, 0.92, 0.87] };
        texel.color = scale(color, 1.05 - 0.15 * down);
        (texel.height, texel.lit) = ((1.4 + 1.4 * down) * unit, true);
    });
}

/// A window in the mansard, under a roof of its own.
fn dormer(canvas: &mut Canvas, plan: &Plan, middle: f32) {
    let unit = canvas.unit;
    let (high, half) = (plan.eaves - plan.ridge, (plan.window[0] / 2.0).round().max(1.0));
    let middle = middle.round();
    let area = Rect::new(middle - half, (plan.ridge + 0.42 * high).round(), middle + half, plan.eaves - unit.round());
    let edge = snap(canvas, 0.8);
    let frame = Rect { bottom: area.bottom, ..area.grown(edge, edge) };
    canvas.mark(frame, Label::Molding);
    canvas.fill(frame, 0.6 * unit, plan.trim);
    let cap = Rect::new(frame.left - 0.5 * unit, frame.top - 1.6 * unit, frame.right + 0.5 * unit, frame.top);
    canvas.draw(cap, |x, y, texel| {
        let slope = (x - cap.middle()).abs() / (cap.width() / 2.0);
        if (y - cap.top) / cap.height() > slope * slope {
            (texel.color, texel.height, texel.label) = (scale(plan.trim, 0.93), 1.0 * unit, Label::Molding);
            texel.lit = true;
        }
    });
    window(canvas, plan, area, false, false);
}
