//! A YAML document as a tree that remembers where everything stood. `serde` would stop at the first mistake and forget
//! the places of the rest.

use super::check::Findings;
use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use std::collections::BTreeMap;

/// Where something begins, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(span: &Span) -> Self {
        Self { line: span.start.line().max(1), column: span.start.col() + 1 }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Without quotes and tag, so that it may be a number, a truth value or nothing.
    pub(super) plain: bool,
}

/// What a scalar means to Kubernetes' YAML reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Nothing,
    Bool(bool),
    Integer,
    Fraction,
    Text,
}

impl Scalar {
    pub(super) fn meaning(&self) -> Meaning {
        if !self.plain {
            return Meaning::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Meaning::Nothing,
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Meaning::Bool(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Meaning::Bool(false),
            text => number(text),
        }
    }
}

fn number(text: &str) -> Meaning {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Meaning::Text;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return Meaning::Integer;
    }
    let other_base = |prefix: &str, base: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(base)))
    };
    if other_base("0x", 16) || other_base("0o", 8) || other_base("0b", 2) {
        return Meaning::Integer;
    }
    if digits.parse::<f64>().is_ok() { Meaning::Fraction } else { Meaning::Text }
}

impl Node {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.meaning() == Meaning::Nothing)
    }

    /// The value of a key; `None` also if it is written without a value.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node).filter(|node| !node.is_nothing())
    }
}

impl From<&serde_json::Value> for Node {
    /// A value that is no text of a file, such as an object from Kubernetes.
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let plain = |text: String| Value::Scalar(Scalar { text, plain: true });
        let value = match json {
            Json::Null => plain(String::new()),
            Json::Bool(value) => plain(value.to_string()),
            Json::Number(number) => plain(number.to_string()),
            Json::String(text) => Value::Scalar(Scalar { text: text.clone(), plain: false }),
            Json::Array(items) => Value::List(items.iter().map(Self::from).collect()),
            Json::Object(entries) => {
                let entry = |(key, value): (&String, &Json)| {
                    (Key { place: Place::START, text: key.clone() }, Self::from(value))
                };
                Value::Map(entries.iter().map(entry).collect())
            }
        };
        Self { place: Place::START, value }
    }
}

/// Deeper manifests do not exist; the limit keeps recursion in bounds.
const MAX_DEPTH: usize = 32;
/// Values after aliases are replaced by what they stand for. Nested aliases could ask for billions.
const MAX_NODES: usize = 50_000;

/// The only document in the text, or `None` and the problems.
pub(super) fn load(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut loader = Loader::default();
    let mut options = Options::default();
    options.emit_comments = false;
    (options.flow_nesting_limit, options.block_nesting_limit) = (MAX_DEPTH, MAX_DEPTH);
    for event in Parser::new_from_str_with_options(text, options) {
        let taken = match event {
            Ok((event, span)) => loader.take(event, Place::of(&span)),
            Err(error) => Err(Stop::from_syntax(&error)),
        };
        if let Err(stop) = taken {
            findings.problem_at(stop.place, "", stop.reason, stop.hint);
            if stop.fatal {
                return None;
            }
            break;
        }
    }
    if loader.document.is_none() {
        let hint = "write a RedisCluster; examples/cluster.yaml is one";
        findings.problem_at(Place::START, "", "there is no manifest in the file", Some(hint.to_owned()));
    }
    loader.document
}

/// Why reading ends early.
struct Stop {
    place: Place,
    reason: String,
    hint: Option<String>,
    /// Is what was read so far of no use?
    fatal: bool,
}

impl Stop {
    fn new(place: Place, reason: impl Into<String>, hint: &str) -> Self {
        let hint = Some(hint).filter(|hint| !hint.is_empty()).map(str::to_owned);
        Self { place, reason: reason.into(), hint, fatal: true }
    }

    fn from_syntax(error: &ScanError) -> Self {
        let marker = error.marker();
        let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(place),
            ErrorKind::UnknownAnchor => {
                Self::new(place, "this alias has no anchor before it", "quote a text that begins with *")
            }
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => {
                Self::new(place, "a tab in the indentation", "indent with blanks")
            }
            kind => {
                Self::new(place, format!("this is not YAML: {kind}"), "the mistake may be in the line before")
            }
        }
    }
}

fn too_deep(place: Place) -> Stop {
    Stop::new(place, format!("nested deeper than {MAX_DEPTH} levels"), "")
}

/// A collection that is not complete yet.
struct Open {
    place: Place,
    anchor: usize,
    value: Value,
    /// The key that waits for its value.
    key: Option<Key>,
    nodes: usize,
    height: usize,
}

/// A complete value, with what is needed to know what a copy would cost.
#[derive(Clone)]
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
    document_place: Option<Place>,
    document: Option<Node>,
}

impl Loader {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(..) => {
                self.document_place = Some(place);
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_text_tag(tag.as_deref(), place)?;
                let value = Value::Scalar(Scalar { text: text.into_owned(), plain });
                self.count(1, place)?;
                self.complete(anchor, Anchored { node: Node { place, value }, nodes: 1, height: 0 })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(place, anchor, tag.as_deref(), Value::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(place, anchor, tag.as_deref(), Value::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { place, anchor, value, nodes, height, .. }) => {
                    let node = Node { place, value };
                    self.complete(anchor, Anchored { node, nodes: nodes + 1, height: height + 1 })
                }
                None => Ok(()),
            },
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(anchored) => {
                    // Counted before it is copied: the copy is what must not grow.
                    let nodes = anchored.nodes;
                    self.count(nodes, place)?;
                    let mut copy = self.anchors[&id].clone();
                    copy.node.place = place;
                    self.complete(0, copy)
                }
                None => Err(Stop::new(place, "this alias stands inside what it stands for", "")),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, value: Value) -> Result<(), Stop> {
        is_text_tag(tag, place)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.count(1, place)?;
        self.open.push(Open { place, anchor, value, key: None, nodes: 0, height: 0 });
        Ok(())
    }

    fn count(&mut self, more: usize, place: Place) -> Result<(), Stop> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            let hint = "aliases count as often as they are used";
            return Err(Stop::new(place, format!("more than {MAX_NODES} values"), hint));
        }
        Ok(())
    }

    fn complete(&mut self, anchor: usize, done: Anchored) -> Result<(), Stop> {
        let place = done.node.place;
        if self.open.len() + done.height > MAX_DEPTH {
            return Err(too_deep(place));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, done.clone());
        }
        let Some(parent) = self.open.last_mut() else { return self.document_ends(done.node) };
        parent.nodes += done.nodes;
        parent.height = parent.height.max(done.height);
        match &mut parent.value {
            Value::List(items) => items.push(done.node),
            Value::Map(entries) => match (parent.key.take(), done.node.value) {
                (Some(key), value) => entries.push((key, Node { place, value })),
                (None, Value::Scalar(scalar)) => parent.key = Some(Key { place, text: scalar.text }),
                (None, _) => {
                    return Err(Stop::new(
                        place,
                        "a key must be text",
                        "quote a text that begins with { or [",
                    ));
                }
            },
            Value::Scalar(_) => {}
        }
        Ok(())
    }

    /// Empty documents are skipped, as `kubectl` does: a comment before `---` makes one.
    fn document_ends(&mut self, root: Node) -> Result<(), Stop> {
        self.anchors.clear();
        if root.is_nothing() {
            return Ok(());
        }
        if self.document.is_some() {
            let place = self.document_place.unwrap_or(root.place);
            let stop = Stop::new(
                place,
                "a second document begins here",
                "one cluster per file: split the file here",
            );
            return Err(Stop { fatal: false, ..stop });
        }
        self.document = Some(root);
        Ok(())
    }
}

/// Does the tag make a plain scalar text? Tags that ask for more than plain data are refused.
fn is_text_tag(tag: Option<&Tag>, place: Place) -> Result<bool, Stop> {
    match tag {
        None => Ok(false),
        Some(tag) => match tag.core_suffix() {
            Some("str") => Ok(true),
            Some("int" | "bool" | "null" | "float" | "map" | "seq") => Ok(false),
            _ => Err(Stop::new(place, "tags are not supported", "remove the word that begins with !")),
        },
    }
}
