//! Laws of pictures: each is well-formed, stays inside its frame, needs nothing from outside, and shows all that it was
//! given.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

use ds_forecast::picture::{
    Bars, Chart, Heat, Picture, Row, ScheduleRow, Series, Unit, bars, chart, heat, schedule, schedule_rows, text_width,
};
use ds_plan::schedule::{Action, Microbatch, Pass, Piece, Placement, StageId, one_f_one_b, timeline};

/// Reads a picture and gives its boxes: (class, x, y, width, height), with the place of their group.
fn boxes(picture: &Picture) -> Vec<(String, [f64; 4])> {
    let text = picture.svg();
    let tree = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", picture.title));
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| node.attribute(name).map_or(0.0, |n| n.parse().unwrap());
    let mut found = Vec::new();
    for node in tree.descendants().filter(|node| node.is_element()) {
        let down: f64 = node.ancestors().filter_map(|above| above.attribute("transform")).map(shift).sum();
        let class = node.attribute("class").unwrap_or_default().to_owned();
        match node.tag_name().name() {
            "rect" => {
                let at = ["x", "y", "width", "height"].map(|name| number(&node, name));
                found.push((class, [at[0], at[1] + down, at[2], at[3]]));
            }
            "path" => {
                let shapes = node.attribute("d").unwrap().split('M').skip(1);
                found.extend(shapes.map(|shape| (class.clone(), path_box(shape, down))));
            }
            "circle" => {
                let [x, y, r] = ["cx", "cy", "r"].map(|name| number(&node, name));
                found.push((class, [x - r, y + down - r, 2.0 * r, 2.0 * r]));
            }
            _ => (),
        }
    }
    found
}

/// `translate(0 Y)`.
fn shift(transform: &str) -> f64 {
    transform.trim_start_matches("translate(0 ").trim_end_matches(')').parse().unwrap()
}

/// `X YhWvHh-Wz`.
fn path_box(shape: &str, down: f64) -> [f64; 4] {
    let numbers: Vec<f64> = shape
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect();
    [numbers[0], numbers[1] + down, numbers[2], numbers[3]]
}

/// What holds for every picture.
fn holds(picture: &Picture) {
    for (class, [x, y, width, height]) in boxes(picture) {
        let inside = x >= 0.0 && y >= 0.0 && x + width <= picture.width + 0.02 && y + height <= picture.height + 0.02;
        assert!(inside && width >= 0.0, "{}: {class} at {x} {y} {width} {height}", picture.title);
    }
    let text = picture.svg().replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "url(", "href", "@import", "<script"] {
        assert!(!text.contains(outside), "{}: {outside}", picture.title);
    }
    assert!(!picture.about.is_empty());
    roxmltree::Document::parse(&picture.inline()).unwrap();
}

fn rows(n_stages: u32, n_microbatches: u32) -> Vec<ScheduleRow> {
    let actions: Vec<Vec<Action>> =
        (0..n_stages).map(|stage| one_f_one_b(StageId(stage), n_stages, n_microbatches)).collect();
    let cost = |action: Action| action.pieces().map(|p| if p.pass == Pass::Forward { 50 } else { 110 }).sum();
    schedule_rows(&timeline(&actions, Placement::Straight { n_pipeline: n_stages }, cost).unwrap(), 1e-3)
}

fn is_pass(class: &str) -> bool {
    let class = class.split(' ').next().unwrap();
    class.len() == 2 && "fbiw".contains(&class[..1]) && class[1..].parse::<u8>().is_ok()
}

#[test]
fn a_schedule_shows_every_action_once_and_its_idle_time() {
    for (n_stages, n_microbatches) in [(1, 1), (2, 3), (4, 8), (8, 8), (3, 1)] {
        let picture = schedule("step", &rows(n_stages, n_microbatches), Unit::Seconds);
        holds(&picture);
        let legend = 2 + 5; // One box a pass, and the shades.
        let shown = boxes(&picture).iter().filter(|(class, _)| is_pass(class)).count();
        let legend = if n_microbatches > 1 { legend } else { 2 };
        assert_eq!(shown, (n_stages * n_microbatches * 2) as usize + legend, "{n_stages} {n_microbatches}");
    }
}

#[test]
fn boxes_of_a_row_do_not_overlap_and_their_width_is_their_time() {
    let rows = rows(4, 8);
    let end = rows.iter().flat_map(|row| &row.segments).map(|segment| segment.end).fold(0.0, f64::max);
    let shown = boxes(&schedule("step", &rows, Unit::Seconds));
    let ground = shown.iter().find(|(class, at)| class == "idle" && at[2] > 100.0).unwrap().1;
    let mut busy: Vec<[f64; 4]> =
        shown.iter().filter(|(class, at)| is_pass(class) && at[1] == ground[1]).map(|(_, at)| *at).collect();
    busy.sort_by(|a, b| a[0].total_cmp(&b[0]));
    assert!(busy.windows(2).all(|pair| pair[0][0] + pair[0][2] <= pair[1][0] + 0.01), "{busy:?}");
    for (segment, at) in rows[0].segments.iter().zip(&busy) {
        let wide = (segment.end - segment.start) / end * ground[2];
        assert!((at[2] - wide).abs() <= 0.62, "{segment:?} {at:?}");
    }
}

#[test]
fn a_long_schedule_is_small_and_shows_its_ends_larger() {
    let picture = schedule("step", &rows(16, 120), Unit::Seconds);
    holds(&picture);
    let text = picture.svg();
    assert!(text.contains("The beginning") && text.contains("The end"));
    assert!(text.len() < 400_000, "{}", text.len());
}

#[test]
fn halves_of_an_overlapped_pair_lie_above_each_other() {
    let piece = |pass, microbatch| Piece { stage: StageId(0), microbatch: Microbatch(microbatch), pass };
    let action = Action::Overlapped { forward: piece(Pass::Forward, 5), backward: piece(Pass::Backward, 2) };
    let segments = vec![ds_forecast::picture::Segment { start: 0.0, end: 1.0, action }];
    let picture = schedule("pair", &[ScheduleRow { name: "0".to_owned(), segments }], Unit::Seconds);
    holds(&picture);
    let halves: Vec<_> = boxes(&picture).into_iter().filter(|(class, at)| is_pass(class) && at[2] > 100.0).collect();
    assert_eq!(halves.len(), 2);
    assert_eq!(halves[0].1[1] + halves[0].1[3], halves[1].1[1]);
}

fn some_bars(values: &[Vec<f64>], limit: Option<f64>) -> Bars {
    Bars {
        title: "memory <of> \"ranks\" & more".to_owned(),
        rows_are: "pipeline".to_owned(),
        parts: (0..12).map(|part| format!("part {part}")).collect(),
        rows: values
            .iter()
            .enumerate()
            .map(|(i, values)| Row { name: i.to_string(), values: values.clone() })
            .collect(),
        limit: limit.map(|limit| (limit, "a GPU's".to_owned())),
        unit: Unit::Bytes,
    }
}

#[test]
fn bars_are_as_long_as_their_values_and_mark_what_is_over_the_limit() {
    let values = vec![vec![1e9, 2e9, 0.0, 4e9], vec![3e9, 1e9, 1e9, 0.5e9]];
    let picture = bars(&some_bars(&values, Some(6e9)));
    holds(&picture);
    let widths: Vec<f64> = boxes(&picture)
        .into_iter()
        .filter(|(class, at)| class.starts_with('k') && at[2] > 13.0)
        .map(|(_, at)| at[2])
        .collect();
    assert_eq!(widths.len(), 7);
    assert!((widths[1] / widths[0] - 2.0).abs() < 0.02, "{widths:?}");
    assert_eq!(picture.svg().matches("small end over").count(), 1);
}

#[test]
fn empty_single_and_extreme_bars_are_drawn() {
    for values in [vec![], vec![vec![]], vec![vec![0.0]], vec![vec![1e-9, 1e15]], vec![vec![1.0; 12]; 64]] {
        for limit in [None, Some(1e-3), Some(1.0), Some(1e18)] {
            holds(&bars(&some_bars(&values, limit)));
        }
    }
}

#[test]
fn a_heat_strip_shows_what_is_down_and_never_hides_the_busiest_link() {
    let mut cells = vec![Some(0.1); 10_000];
    cells[7777] = Some(1.0);
    let rows = vec![("plane 0".to_owned(), cells), ("plane 1".to_owned(), vec![None; 16]), ("none".to_owned(), vec![])];
    let strip = Heat { title: "load".to_owned(), rows_are: "plane".to_owned(), cells_are: "link".to_owned(), rows };
    let picture = heat(&strip);
    holds(&picture);
    let text = picture.svg();
    assert_eq!(text.matches("class=\"h9\"").count(), 2, "one in the scale, one of the link");
    assert!(text.contains("16 down"), "{text}");
}

#[test]
fn a_chart_keeps_every_finite_point() {
    let points = (0..50).map(|i| (f64::from(i), f64::from(i * i), "p".to_owned()));
    let points = points.chain([(f64::NAN, 1.0, String::new()), (1.0, f64::INFINITY, String::new())]).collect();
    let series = vec![Series { name: "all".to_owned(), is_line: true, points }];
    let axis = |name: &str| (name.to_owned(), Unit::Seconds);
    let of = |series| Chart {
        title: "c".to_owned(),
        x: axis("x"),
        y: axis("y"),
        series,
        limit: Some((10.0, "l".to_owned())),
    };
    let picture = chart(&of(series));
    holds(&picture);
    assert_eq!(picture.svg().matches("<circle").count(), 50);
    holds(&chart(&of(Vec::new())));
}

#[test]
fn wide_letters_take_more_room_than_narrow_ones() {
    assert!(text_width("WWW", 12.0) > text_width("nnn", 12.0) && text_width("nnn", 12.0) > text_width("iii", 12.0));
}
