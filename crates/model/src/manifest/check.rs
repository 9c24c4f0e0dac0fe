//! Does the document have the right fields and types? Finds everything, then lets go on with what is usable.

use super::schema::{Effect, Field, ROOT, SPEC, Shape};
use super::tree::{Key, Meaning, Node, Place, Scalar, Value};
use super::{FieldNote, MAX_PROBLEMS, Problem, Target};
use crate::spec::{FieldProblem, parse_duration_ms, parse_quantity_bytes, printable};
use std::collections::BTreeMap;

/// What was found while reading one file or object.
pub(super) struct Findings {
    pub(super) target: Target,
    /// Are there lines to name? Not in an object.
    has_lines: bool,
    problems: Vec<(Place, FieldProblem)>,
    /// Where each field stands, by its dotted path.
    places: BTreeMap<String, Place>,
    pub(super) without_effect: Vec<FieldNote>,
}

impl Findings {
    pub(super) fn new(target: Target, has_lines: bool) -> Self {
        Self { target, has_lines, problems: Vec::new(), places: BTreeMap::new(), without_effect: Vec::new() }
    }

    /// Where something else was set, to be appended to a reason.
    pub(super) fn on_line(&self, line: usize) -> String {
        if self.has_lines { format!(" on line {line}") } else { String::new() }
    }

    pub(super) fn problem_at(
        &mut self,
        place: Place,
        field: &str,
        reason: impl Into<String>,
        hint: Option<String>,
    ) {
        self.problems.push((place, FieldProblem { field: field.to_owned(), reason: reason.into(), hint }));
    }

    /// Adds a problem that knows its field but not its place.
    pub(super) fn problem(&mut self, problem: FieldProblem) {
        self.problems.push((self.place_of(&problem.field), problem));
    }

    pub(super) fn note(&self, note: FieldProblem) -> FieldNote {
        let line = self.place_of(&note.field).line;
        FieldNote { field: note.field, line, reason: note.reason, hint: note.hint }
    }

    /// Are there so many problems that a further one will not be shown?
    fn is_full(&self) -> bool {
        self.problems.len() > 10 * MAX_PROBLEMS
    }

    pub(super) fn is_clean(&self, field: &str) -> bool {
        !self.problems.iter().any(|(_, problem)| problem.field == field)
    }

    /// Where the field stands; if it does not, where its nearest parent does.
    fn place_of(&self, field: &str) -> Place {
        let mut path = field;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return Place::START,
            }
        }
    }

    pub(super) fn remember(&mut self, path: String, place: Place) {
        self.places.entry(path).or_insert(place);
    }

    /// All problems of an object, in the order in which its fields are read.
    pub(super) fn into_field_problems(self) -> Vec<FieldProblem> {
        self.problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// All problems in the order of the file.
    pub(super) fn into_problems(mut self, file: &str) -> Vec<Problem> {
        self.problems.sort_by_key(|(place, _)| *place);
        let problem = |(place, FieldProblem { field, reason, hint }): (Place, FieldProblem)| Problem {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            field,
            reason,
            hint,
        };
        self.problems.into_iter().map(problem).collect()
    }
}

/// Of a field that is understood and nothing more.
pub(super) const NOT_YET: &str = "not supported yet";

/// Checks the whole document.
pub(super) fn document(root: &Node, findings: &mut Findings) {
    fields("", root, ROOT, findings);
}

/// What a person would call the value.
pub(super) fn describe(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Nothing => "nothing".to_owned(),
            Meaning::Bool(_) => format!("the truth value `{}`", scalar.text),
            Meaning::Integer | Meaning::Fraction => format!("the number `{}`", printable(&scalar.text)),
            Meaning::Text => format!("the text `{}`", printable(&scalar.text)),
        },
    }
}

fn join(path: &str, key: &str) -> String {
    let key = printable(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn wrong_type(path: &str, node: &Node, wanted: &str, hint: Option<String>, findings: &mut Findings) {
    let reason = format!("expected {wanted}, found {}", describe(node));
    findings.problem_at(node.place, path, reason, hint);
}

fn shape(path: &str, node: &Node, wanted: &Shape, findings: &mut Findings) {
    match wanted {
        Shape::Text => text(path, node, findings),
        Shape::OneOf(words) => one_of(path, node, words, findings),
        Shape::Bool => {
            if !matches!(&node.value, Value::Scalar(s) if matches!(s.meaning(), Meaning::Bool(_))) {
                wrong_type(path, node, "true or false", without_quotes(node), findings);
            }
        }
        Shape::Integer => integer(path, node, findings),
        Shape::IntegerIn(least, most) => {
            integer(path, node, findings);
            let number = match &node.value {
                Value::Scalar(scalar) => whole_number(scalar),
                _ => None,
            };
            if let Some(number) = number.filter(|number| !(*least..=*most).contains(number)) {
                let reason = format!("{number} is not between {least} and {most}");
                findings.problem_at(node.place, path, reason, None);
            }
        }
        Shape::Quantity => quantity(path, node, findings),
        Shape::Duration => duration(path, node, findings),
        Shape::TextMap => each_entry(path, node, text, findings),
        Shape::Quantities => each_entry(path, node, quantity, findings),
        Shape::Fields(known) => fields(path, node, known, findings),
        Shape::List(item) => {
            let Value::List(items) = &node.value else {
                return wrong_type(path, node, "a list", None, findings);
            };
            for (i, node) in items.iter().enumerate() {
                let path = format!("{path}[{i}]");
                findings.remember(path.clone(), node.place);
                shape(&path, node, item, findings);
            }
        }
        Shape::NamedFields => match &node.value {
            Value::Map(_) => anything(path, node, findings),
            _ => wrong_type(path, node, "a mapping", None, findings),
        },
        Shape::Anything => anything(path, node, findings),
    }
}

fn without_quotes(node: &Node) -> Option<String> {
    let Value::Scalar(Scalar { text, plain: false }) = &node.value else { return None };
    let bare = Scalar { text: text.clone(), plain: true };
    (bare.meaning() != Meaning::Text).then(|| format!("write {} without quotes", printable(text)))
}

fn text(path: &str, node: &Node, findings: &mut Findings) {
    let Value::Scalar(scalar) = &node.value else { return wrong_type(path, node, "text", None, findings) };
    match scalar.meaning() {
        Meaning::Text => {}
        Meaning::Nothing => {
            wrong_type(path, node, "text", Some("write \"\" for an empty text".to_owned()), findings);
        }
        _ => {
            let hint = format!("write it in quotes: \"{}\"", printable(&scalar.text));
            wrong_type(path, node, "text", Some(hint), findings);
        }
    }
}

fn one_of(path: &str, node: &Node, words: &[&'static str], findings: &mut Findings) {
    let listed = words.join(", ");
    match &node.value {
        Value::Scalar(scalar) if words.contains(&scalar.text.as_str()) => {}
        Value::Scalar(scalar) if scalar.meaning() == Meaning::Text => {
            let reason = format!("`{}` is not one of {listed}", printable(&scalar.text));
            let hint =
                similar(&scalar.text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"));
            findings.problem_at(node.place, path, reason, hint);
        }
        _ => wrong_type(path, node, &format!("one of {listed}"), None, findings),
    }
}

fn integer(path: &str, node: &Node, findings: &mut Findings) {
    let wanted = "a whole number";
    match &node.value {
        Value::Scalar(scalar) if scalar.meaning() == Meaning::Integer => {
            if whole_number(scalar).is_none() {
                let shown = printable(&scalar.text);
                let reason = if is_decimal(&scalar.text) {
                    format!("`{shown}` is not between 0 and {}", i32::MAX)
                } else {
                    format!("`{shown}` is not written in decimal digits")
                };
                findings.problem_at(node.place, path, reason, None);
            }
        }
        _ => wrong_type(path, node, wanted, without_quotes(node), findings),
    }
}

/// Without a base: readers of YAML disagree about what `010` is.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'))
}

/// The number, if it is one that an integer field takes.
pub(super) fn whole_number(scalar: &Scalar) -> Option<u32> {
    (scalar.meaning() == Meaning::Integer && is_decimal(&scalar.text))
        .then(|| scalar.text.parse::<u32>().ok())
        .flatten()
        .filter(|number| i32::try_from(*number).is_ok())
}

fn quantity(path: &str, node: &Node, findings: &mut Findings) {
    match &node.value {
        Value::Scalar(scalar) if !matches!(scalar.meaning(), Meaning::Nothing | Meaning::Bool(_)) => {
            if let Err(error) = parse_quantity_bytes(&scalar.text) {
                findings.problem_at(node.place, path, error.to_string(), Some(error.hint().to_owned()));
            }
        }
        _ => wrong_type(path, node, "a quantity such as 512Mi", None, findings),
    }
}

fn duration(path: &str, node: &Node, findings: &mut Findings) {
    match &node.value {
        Value::Scalar(scalar) if !matches!(scalar.meaning(), Meaning::Nothing | Meaning::Bool(_)) => {
            if let Err(error) = parse_duration_ms(&scalar.text) {
                findings.problem_at(node.place, path, error.to_string(), Some(error.hint().to_owned()));
            }
        }
        _ => wrong_type(path, node, "a duration such as 15s", None, findings),
    }
}

fn each_entry(path: &str, node: &Node, check: fn(&str, &Node, &mut Findings), findings: &mut Findings) {
    let Value::Map(entries) = &node.value else { return wrong_type(path, node, "a mapping", None, findings) };
    duplicates(path, entries, findings);
    for (key, node) in entries {
        let path = join(path, &key.text);
        findings.remember(path.clone(), key.place);
        check(&path, node, findings);
    }
}

/// What only Kubernetes understands is searched for mistakes of YAML only.
fn anything(path: &str, node: &Node, findings: &mut Findings) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (i, node) in items.iter().enumerate() {
                anything(&format!("{path}[{i}]"), node, findings);
            }
        }
        Value::Map(entries) => {
            duplicates(path, entries, findings);
            for (key, node) in entries {
                anything(&join(path, &key.text), node, findings);
            }
        }
    }
}

fn fields(path: &str, node: &Node, known: &'static [Field], findings: &mut Findings) {
    let Value::Map(entries) = &node.value else { return wrong_type(path, node, "a mapping", None, findings) };
    duplicates(path, entries, findings);
    for (key, node) in entries {
        let field_path = join(path, &key.text);
        findings.remember(field_path.clone(), key.place);
        let Some(field) = known.iter().find(|field| field.name == key.text) else {
            let hint =
                (!findings.is_full()).then(|| unknown_field_hint(path, &key.text, known, findings.target));
            let reason = if key.text == "<<" { "merge keys are not supported" } else { "unknown field" };
            findings.problem_at(key.place, &field_path, reason, hint);
            continue;
        };
        // Kubernetes takes a field without a value for an absent one.
        if node.is_nothing() {
            continue;
        }
        shape(&field_path, node, &field.shape, findings);
        match field.effect {
            Effect::Used => {}
            Effect::Kubernetes(_) if findings.target == Target::Kubernetes => {}
            Effect::Kubernetes(why) | Effect::Unused(why) => {
                let here = findings.target == Target::Local;
                let why = if here { why } else { NOT_YET };
                let useless = findings.note(FieldProblem::new(field_path, why));
                findings.without_effect.push(useless);
            }
            Effect::Later(instead) => {
                findings.problem_at(key.place, &field_path, NOT_YET, Some(instead.to_owned()));
            }
        }
    }
}

fn duplicates(path: &str, entries: &[(Key, Node)], findings: &mut Findings) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, _) in entries {
        match seen.get(key.text.as_str()) {
            Some(line) => {
                let reason = format!("set twice; first{}", findings.on_line(*line));
                findings.problem_at(
                    key.place,
                    &join(path, &key.text),
                    reason,
                    Some("remove one of them".to_owned()),
                );
            }
            None => _ = seen.insert(&key.text, key.place.line),
        }
    }
}

fn unknown_field_hint(path: &str, name: &str, known: &'static [Field], target: Target) -> String {
    if name == "<<" {
        return "write the fields out".to_owned();
    }
    if path.is_empty() && SPEC.iter().any(|field| field.name == name) {
        return format!("it belongs under spec: spec.{name}");
    }
    if let Some(word) = similar(name, known.iter().map(|field| field.name)) {
        return format!("did you mean `{word}`?");
    }
    let is_used = |field: &&Field| match field.effect {
        Effect::Used => true,
        Effect::Kubernetes(_) => target == Target::Kubernetes,
        Effect::Unused(_) | Effect::Later(_) => false,
    };
    let used = known.iter().filter(is_used);
    let names: Vec<_> = used.map(|field| field.name).collect();
    format!("known here: {}", names.join(", "))
}

/// The word that was probably meant.
pub(super) fn similar(text: &str, words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // The comparison costs the product of the lengths, and a text this long is no slip of the fingers.
    if text.len() > 40 {
        return None;
    }
    let text = text.to_lowercase();
    let words: Vec<_> = words.collect();
    // A word that was not finished, such as `replicas` of `replicasPerShard`.
    if text.len() > 3
        && let Some(word) = words.iter().find(|word| word.to_lowercase().starts_with(&text))
    {
        return Some(word);
    }
    let likeness = |word: &str| strsim::jaro_winkler(&text, &word.to_lowercase());
    let best = words.into_iter().map(|word| (likeness(word), word)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= 0.85).map(|(_, word)| word)
}
