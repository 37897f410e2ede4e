//! The headlines as bars, in SVG, in colours that suit a light and a dark page.

use super::{
    cases,
    numbers::Measured,
    servers::Server,
    tables::{key, ranked},
};
use bench::Outcome;
use std::fmt::Write;

/// The cases, with titles and units.
const PANELS: [(&str, &str, &str); 3] = [
    (cases::ECHO, "Echo", "messages per second of server CPU; 64 connections, one message each under way"),
    (cases::FANOUT, "Fan-out", "deliveries per second of server CPU; 1 000 members, 8 messages under way"),
    (cases::IDLE, "Memory", "for each of 10 000 connections that have sent a message; less is better"),
];

const WIDTH: f64 = 760.0;
const NAMES: f64 = 150.0;
const VALUES: f64 = 90.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
const HEAD: f64 = 52.0;
const GAP: f64 = 24.0;

const STYLE: &str = "\
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #59636e }
.title { font-size: 15px; font-weight: 600; fill: #1f2328 }
.ours { font-weight: 600; fill: #1f2328 }
rect { fill: #afb8c1 }
rect.ours { fill: #0969da }
rect.limit { fill: none; stroke: #afb8c1; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
.title, .ours { fill: #f0f6fc }
rect { fill: #4d5560 }
rect.ours { fill: #4493f8 }
rect.limit { stroke: #656c76 }
}";

pub(crate) fn svg(report: &[Measured]) -> Outcome<String> {
    let mut body = String::new();
    let mut height = GAP / 2.0;
    for (case, title, about) in PANELS {
        let Some(measured) = report.iter().find(|measured| measured.case.name == case) else {
            continue;
        };
        height = panel(&mut body, height, measured, title, about)? + GAP;
    }
    if body.is_empty() {
        return Err("no case of the chart was measured: it shows those of --short".into());
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>Echo, fan-out and memory, compared</title>\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    ))
}

/// Draws a panel at `top`, and returns its end.
fn panel(body: &mut String, top: f64, measured: &Measured, title: &str, about: &str) -> Outcome<f64> {
    writeln!(body, "<text class=\"title\" x=\"0\" y=\"{}\">{title}</text>", top + 16.0)?;
    writeln!(body, "<text x=\"0\" y=\"{}\">{about}</text>", top + 34.0)?;
    let key = key(&measured.case);
    let servers = ranked(measured).into_iter();
    let bars: Vec<_> = servers
        .filter_map(|(server, rounds)| Some((server, rounds.median(key.name)?, key.value(rounds))))
        .collect();
    let most = bars.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
    for (row, (server, value, label)) in bars.iter().enumerate() {
        let middle = top + HEAD + row as f64 * ROW + BAR / 2.0;
        let length = (value / most).max(0.0) * (WIDTH - NAMES - VALUES);
        bar(body, middle, length, *server, label)?;
    }
    Ok(top + HEAD + bars.len() as f64 * ROW)
}

fn bar(body: &mut String, middle: f64, length: f64, server: Server, label: &str) -> Outcome {
    let class = match server {
        server if server.is_ours() => " class=\"ours\"",
        server if server.program == "limit" => " class=\"limit\"",
        _ => "",
    };
    let (name, top, baseline) = (server.name, middle - BAR / 2.0, middle + 4.0);
    let start = NAMES - 8.0;
    let end = NAMES + length + 8.0;
    writeln!(body, "<text{class} x=\"{start}\" y=\"{baseline}\" text-anchor=\"end\">{name}</text>")?;
    writeln!(body, "<rect{class} x=\"{NAMES}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>")?;
    writeln!(body, "<text{class} x=\"{end:.1}\" y=\"{baseline}\">{label}</text>")?;
    Ok(())
}
