//! Results as pictures: bars of CPU time, dots of latency. SVG, so that they are text in the repository.

use super::memory::{Memory, Point};
use super::results::Results;
use svg::Document;
use svg::node::element::{Circle, Line, Polyline, Rectangle, Text};

const WIDTH: f64 = 860.0;
/// Where bars begin; names stand before it.
const LEFT: f64 = 260.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 56.0;
const ROW: f64 = 24.0;
const BOTTOM: f64 = 44.0;

const INK: &str = "#1f2328";
const FAINT: &str = "#d0d7de";
const ENVOY: &str = "#8c959f";
const RIVAL: &str = "#bf8700";
const OWN: &str = "#0969da";

/// CPU time a request: what the arm without a filter costs, and what the arm adds, with quartiles.
pub(crate) fn cpu(results: &Results) -> Document {
    let most = results.arms.iter().map(|arm| arm.cpu.high).fold(1.0, f64::max);
    let step = step(most / 6.0);
    let end = (most / step).ceil() * step;
    let scale = |value: f64| LEFT + value.max(0.0) / end * (WIDTH - LEFT - RIGHT);
    let mut picture = paper(results.arms.len(), "CPU time of Envoy a request, microseconds (median, quartiles)");
    let bottom = TOP + ROW * results.arms.len() as f64;
    let mut tick = 0.0;
    while tick <= end + step / 2.0 {
        picture = picture.add(line(scale(tick), TOP, scale(tick), bottom, FAINT));
        picture = picture.add(text(scale(tick), bottom + 18.0, &format!("{tick:.0}"), "middle"));
        tick += step;
    }
    for (row, arm) in results.arms.iter().enumerate() {
        let (top, middle) = (TOP + ROW * row as f64 + 4.0, TOP + ROW * row as f64 + ROW / 2.0);
        picture = picture.add(text(LEFT - 10.0, middle + 4.0, &arm.name, "end"));
        let base = results.arm(&arm.baseline).map_or(arm.cpu.median, |base| base.cpu.median).min(arm.cpu.median);
        picture = picture.add(bar(LEFT, scale(base), top, ENVOY));
        picture = picture.add(bar(scale(base), scale(arm.cpu.median), top, colour(&arm.id)));
        picture = picture.add(line(scale(arm.cpu.low), middle, scale(arm.cpu.high), middle, INK));
        let label = format!("{:.0}", arm.cpu.median);
        picture = picture.add(text(scale(arm.cpu.high) + 6.0, middle + 4.0, &label, "start"));
    }
    picture
}

/// Latencies at the fixed rate on a logarithmic scale: p50, p99 and p99.9, each paler than the one before.
pub(crate) fn latency(results: &Results) -> Document {
    let all = || results.arms.iter().flat_map(|arm| [arm.p50.median, arm.p999.median]).filter(|value| *value > 0.0);
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(1.0, f64::max));
    let (low, high) = (least.min(most).log10().floor(), most.log10().ceil());
    let scale = |value: f64| LEFT + (value.max(1e-3).log10() - low) / (high - low).max(1.0) * (WIDTH - LEFT - RIGHT);
    let title = format!("Latency at {} requests a second, microseconds (p50, p99, p99.9)", results.settings.rate);
    let mut picture = paper(results.arms.len(), &title);
    let bottom = TOP + ROW * results.arms.len() as f64;
    let mut decade = low;
    while decade <= high {
        for part in [1.0, 2.0, 5.0] {
            let value = 10_f64.powf(decade) * part;
            if value.log10() <= high + 1e-9 {
                picture = picture.add(line(scale(value), TOP, scale(value), bottom, FAINT));
                picture = picture.add(text(scale(value), bottom + 18.0, &format!("{value:.0}"), "middle"));
            }
        }
        decade += 1.0;
    }
    for (row, arm) in results.arms.iter().enumerate() {
        let middle = TOP + ROW * row as f64 + ROW / 2.0;
        picture = picture.add(text(LEFT - 10.0, middle + 4.0, &arm.name, "end"));
        picture = picture.add(line(scale(arm.p50.median), middle, scale(arm.p999.median), middle, FAINT));
        for (value, opacity) in [(arm.p999.median, 0.35), (arm.p99.median, 0.65), (arm.p50.median, 1.0)] {
            let dot = Circle::new().set("cx", round(scale(value))).set("cy", round(middle)).set("r", 5);
            picture = picture.add(dot.set("fill", colour(&arm.id)).set("fill-opacity", opacity));
        }
    }
    picture
}

/// Memory over requests: the process, and in it the worker's VM.
pub(crate) fn memory(memory: &Memory) -> Document {
    const HEIGHT: f64 = 240.0;
    const MARGIN: f64 = 70.0;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let most = memory.curve.iter().map(|point| mib(point.process)).fold(1.0, f64::max);
    let last = memory.curve.last().map_or(1, |point| point.requests.max(1)) as f64;
    let step = step(most / 4.0);
    let end = (most / step).ceil() * step;
    let x = |requests: u64| MARGIN + requests as f64 / last * (WIDTH - MARGIN - RIGHT);
    let y = |value: f64| TOP + HEIGHT - value / end * HEIGHT;
    let mut picture = sheet(TOP + HEIGHT + BOTTOM);
    picture = picture.add(text(MARGIN, 28.0, "Memory over requests, MiB", "start").set("font-weight", "bold"));
    let mut tick = 0.0;
    while tick <= end + step / 2.0 {
        picture = picture.add(line(MARGIN, y(tick), WIDTH - RIGHT, y(tick), FAINT));
        picture = picture.add(text(MARGIN - 10.0, y(tick) + 4.0, &format!("{tick:.0}"), "end"));
        tick += step;
    }
    for (name, colour, pick) in
        [("process", ENVOY, (|point| point.process) as fn(&Point) -> u64), ("VM", OWN, |point| point.vm)]
    {
        let points =
            memory.curve.iter().map(|point| format!("{},{}", round(x(point.requests)), round(y(mib(pick(point))))));
        let curve = Polyline::new().set("points", points.collect::<Vec<_>>().join(" "));
        picture = picture.add(curve.set("fill", "none").set("stroke", colour).set("stroke-width", 2));
        let place = memory.curve.last().map_or(0.0, |point| y(mib(pick(point))));
        picture = picture.add(text(WIDTH - RIGHT + 6.0, place + 4.0, name, "start"));
    }
    picture.add(text(WIDTH - RIGHT, TOP + HEIGHT + 22.0, &format!("{last:.0} requests"), "end"))
}

fn colour(id: &str) -> &'static str {
    match id {
        id if id.starts_with("exeat") => OWN,
        id if id.starts_with("none") => ENVOY,
        _ => RIVAL,
    }
}

/// The greatest of 1, 2, 5 times a power of ten that is no greater, and at least 1.
fn step(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [5.0, 2.0].into_iter().find(|part| power * part <= value).map_or(power, |part| power * part)
}

fn paper(rows: usize, title: &str) -> Document {
    let title = text(LEFT - 10.0, 28.0, title, "start").set("font-weight", "bold");
    sheet(TOP + ROW * rows as f64 + BOTTOM).add(title)
}

fn sheet(height: f64) -> Document {
    Document::new()
        .set("viewBox", format!("0 0 {WIDTH} {height}"))
        .set("font-family", "system-ui, sans-serif")
        .set("font-size", 13)
        .set("role", "img")
        .add(Rectangle::new().set("width", WIDTH).set("height", height).set("fill", "#ffffff"))
}

fn text(x: f64, y: f64, content: &str, anchor: &str) -> Text {
    Text::new(content).set("x", round(x)).set("y", round(y)).set("text-anchor", anchor).set("fill", INK)
}

fn line(from_x: f64, from_y: f64, to_x: f64, to_y: f64, colour: &str) -> Line {
    let line = Line::new().set("x1", round(from_x)).set("y1", round(from_y));
    line.set("x2", round(to_x)).set("y2", round(to_y)).set("stroke", colour).set("stroke-width", 1.5)
}

fn bar(from: f64, to: f64, top: f64, colour: &str) -> Rectangle {
    let bar = Rectangle::new().set("x", round(from)).set("y", round(top)).set("fill", colour);
    bar.set("width", round((to - from).max(0.0))).set("height", ROW - 8.0)
}

/// A tenth of a pixel is enough, and keeps differences between runs readable.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::results;

    #[test]
    fn steps_are_those_that_people_count_in() {
        for (value, expected) in
            [(0.1, 1.0), (1.0, 1.0), (3.0, 2.0), (7.0, 5.0), (19.0, 10.0), (49.0, 20.0), (300.0, 200.0)]
        {
            assert_eq!(step(value), expected, "{value}");
        }
    }

    #[test]
    fn pictures_show_every_arm_within_their_frame() {
        let results = results();
        for picture in [cpu(&results).to_string(), latency(&results).to_string()] {
            for arm in &results.arms {
                assert!(picture.contains(&arm.name), "{picture}");
            }
            // Every second piece between quotes is the value of an attribute.
            let mut values = picture.split('"').skip(1).step_by(2).filter_map(|value| value.parse::<f64>().ok());
            assert!(values.all(|value| (0.0..=WIDTH).contains(&value)), "{picture}");
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        }
    }

    #[test]
    fn the_curve_has_a_point_for_each_measurement() {
        let memory = crate::sample::memory();
        let picture = super::memory(&memory).to_string();
        let lines: Vec<_> = picture.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.split(' ').count() == memory.curve.len()), "{picture}");
        assert!(!picture.contains("NaN"), "{picture}");
    }

    #[test]
    fn what_an_arm_adds_has_its_colour() {
        let picture = cpu(&results()).to_string();
        assert!(picture.contains(OWN) && picture.contains(ENVOY), "{picture}");
    }
}
