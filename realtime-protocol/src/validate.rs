//! Validation of inputs, with an error that lists each invalid field.
//!
//! With the features `garde` and `validator`, the functions of the same names run the rules that a type derives with
//! these crates. Pass them to `with_check` of a [`Procedure`](crate::Procedure::with_check),
//! [`Subscription`](crate::Subscription::with_check) or [`Event`](crate::Event::with_check).

use crate::{
    error::{Error, Result},
    text::clip,
};
use serde_json::json;

/// The invalid fields of an input, collected into one error that lists each.
///
/// # Examples
///
/// ```
/// use realtime_core::{Procedure, Result, validate::Invalid};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// pub struct Range { from: u32, to: u32 }
///
/// fn check(range: &Range) -> Result {
///     let mut invalid = Invalid::new();
///     if range.to <= range.from {
///         invalid.push("to", "is not after `from`");
///     }
///     invalid.into_result()
/// }
///
/// pub const READ: Procedure<Range, String> = Procedure::query("read").with_check(check);
///
/// let error = READ.validate(&Range { from: 2, to: 1 }).unwrap_err();
/// assert_eq!(error.message(), "to: is not after `from`");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it becomes an error by `into_result`"]
pub struct Invalid {
    fields: Vec<(Box<str>, Box<str>)>,
    count: usize,
}

impl Invalid {
    /// Creates an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field: its path (`user.name`, `lines[2].price`; empty for the whole input), and a message that says
    /// what is wrong.
    ///
    /// Only the first 64 fields, and the first 256 bytes of each path and message, are kept.
    pub fn field(mut self, path: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        self.push(path, message);
        self
    }

    /// Adds a field in place, as [`field`](Self::field) does.
    pub fn push(&mut self, path: impl AsRef<str>, message: impl AsRef<str>) {
        self.count += 1;
        if self.fields.len() < MAX_FIELDS {
            let [path, message] = [path.as_ref(), message.as_ref()].map(|text| clip(text, MAX_BYTES).into());
            self.fields.push((path, message));
        }
    }

    /// Returns true if no field was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns `Ok` if no field was added.
    ///
    /// # Errors
    ///
    /// Returns `INVALID_ARGUMENT` with the first field in the message and all of them in the details:
    /// `[{"path":…,"message":…}]`.
    pub fn into_result(self) -> Result {
        let Some((path, message)) = self.fields.first() else { return Ok(()) };
        let separator = if path.is_empty() { "" } else { ": " };
        let more = match self.count - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let text = format!("{path}{separator}{message}{more}");
        let details = self.fields.iter().map(|(path, message)| json!({ "path": path, "message": message }));
        Err(Error::invalid_argument(text).with_details(details.collect()))
    }
}

/// The number of fields in one error. People read and correct them: more do not help.
const MAX_FIELDS: usize = 64;

/// The length of a path or message. Rules may quote the input, which can be long.
const MAX_BYTES: usize = 256;

/// Runs the rules that `T` has in the crate garde.
///
/// # Errors
///
/// Returns the error of [`Invalid::into_result`], with garde's paths and messages.
///
/// # Examples
///
/// ```
/// use realtime_core::{Procedure, validate};
///
/// #[derive(garde::Validate)]
/// pub struct NewUser {
///     #[garde(length(min = 1, max = 40))]
///     name: String,
/// }
///
/// pub const ADD: Procedure<NewUser, u64> = Procedure::new("users.add").with_check(validate::garde);
///
/// assert!(ADD.validate(&NewUser { name: String::new() }).is_err());
/// ```
#[cfg(feature = "garde")]
pub fn garde<T: ::garde::Validate<Context = ()>>(input: &T) -> Result {
    let Err(report) = input.validate() else { return Ok(()) };
    let mut invalid = Invalid::new();
    for (path, error) in report.iter() {
        invalid.push(path.to_string(), error.message());
    }
    invalid.into_result()
}

/// Runs the rules that `T` has in the crate validator.
///
/// # Errors
///
/// Returns the error of [`Invalid::into_result`], with the fields sorted by path. A rule without a message is named
/// by its code.
///
/// # Examples
///
/// ```
/// use realtime_core::{Procedure, validate};
///
/// #[derive(validator::Validate)]
/// pub struct NewUser {
///     #[validate(length(min = 1, max = 40))]
///     name: String,
/// }
///
/// pub const ADD: Procedure<NewUser, u64> = Procedure::new("users.add").with_check(validate::validator);
///
/// assert!(ADD.validate(&NewUser { name: String::new() }).is_err());
/// ```
#[cfg(feature = "validator")]
pub fn validator<T: ::validator::Validate>(input: &T) -> Result {
    let Err(errors) = input.validate() else { return Ok(()) };
    let mut fields = Vec::new();
    flatten(&errors, "", &mut fields);
    // validator keeps them in a map, without an order.
    fields.sort();
    let mut invalid = Invalid::new();
    for (path, message) in fields {
        invalid.push(path, message);
    }
    invalid.into_result()
}

#[cfg(feature = "validator")]
fn flatten(errors: &::validator::ValidationErrors, parent: &str, fields: &mut Vec<(String, String)>) {
    use ::validator::ValidationErrorsKind::{Field, List, Struct};
    for (name, kind) in errors.errors() {
        let path = match (&**name, parent) {
            // validator's names for errors of a whole struct, and of a list of structs.
            ("__all__" | "_tmp_validator", _) => parent.to_owned(),
            (name, "") => name.to_owned(),
            (name, parent) => format!("{parent}.{name}"),
        };
        match kind {
            Struct(errors) => flatten(errors, &path, fields),
            List(items) => items.iter().for_each(|(at, errors)| flatten(errors, &format!("{path}[{at}]"), fields)),
            Field(errors) => fields.extend(errors.iter().map(|error| (path.clone(), words(error)))),
        }
    }
}

/// Returns the rule's message, or else its code with its bounds. Other parameters may hold the input.
#[cfg(feature = "validator")]
fn words(error: &::validator::ValidationError) -> String {
    if let Some(message) = &error.message {
        return message.to_string();
    }
    let bounds = ["min", "max", "equal", "exclusive_min", "exclusive_max"];
    let bounds = bounds.iter().filter_map(|name| error.params.get(*name).map(|value| format!(", {name} {value}")));
    format!("fails the rule {}{}", error.code, bounds.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn nothing_invalid_is_no_error() {
        assert!(Invalid::new().is_empty());
        assert!(Invalid::new().into_result().is_ok());
    }

    #[test]
    fn the_first_field_is_in_the_message_and_all_are_in_the_details() {
        let invalid = Invalid::new().field("user.name", "is too long").field("age", String::from("is negative"));
        let error = invalid.into_result().unwrap_err();
        assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
        assert_eq!(error.message(), "user.name: is too long (and 1 more)");
        let details = json!([
            { "path": "user.name", "message": "is too long" },
            { "path": "age", "message": "is negative" },
        ]);
        assert_eq!(error.details(), Some(&details));
    }

    #[test]
    fn the_whole_input_has_no_path() {
        let error = Invalid::new().field("", "is empty").into_result().unwrap_err();
        assert_eq!(error.message(), "is empty");
    }

    #[test]
    fn an_error_has_its_bounds() {
        let mut invalid = Invalid::new();
        for _ in 0..100 {
            invalid.push("ž".repeat(1000), "é".repeat(1000));
        }
        let error = invalid.into_result().unwrap_err();
        let fields = error.details().and_then(|details| details.as_array()).unwrap();
        assert_eq!(fields.len(), MAX_FIELDS);
        assert_eq!(fields[63], json!({ "path": "ž".repeat(128), "message": "é".repeat(128) }));
        assert!(error.message().ends_with("(and 99 more)"));
        assert!(error.message().len() < 600);
    }

    /// Returns the paths and messages in an error's details.
    #[cfg(any(feature = "garde", feature = "validator"))]
    fn fields(result: Result) -> Vec<[String; 2]> {
        let error = result.unwrap_err();
        assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
        let details = error.details().and_then(|details| details.as_array()).unwrap();
        let text = |field: &serde_json::Value, name: &str| field[name].as_str().unwrap().to_owned();
        details.iter().map(|field| [text(field, "path"), text(field, "message")]).collect()
    }

    #[cfg(feature = "garde")]
    mod by_garde {
        use super::*;
        use crate::Procedure;
        use ::garde::Validate;

        #[derive(Validate)]
        struct Order {
            #[garde(length(max = 3))]
            note: String,
            #[garde(dive)]
            lines: Vec<Line>,
        }

        #[derive(Validate)]
        struct Line {
            #[garde(range(min = 1))]
            count: u32,
        }

        const ORDER: Procedure<Order, ()> = Procedure::new("order").with_check(garde);

        #[test]
        fn rules_of_garde_are_checked_with_their_paths() {
            let order = |note: &str, counts: &[u32]| {
                let lines = counts.iter().map(|&count| Line { count }).collect();
                ORDER.validate(&Order { note: note.into(), lines })
            };
            assert!(order("abc", &[1, 2]).is_ok());
            assert_eq!(
                fields(order("abcd", &[1, 0])),
                [["lines[1].count", "lower than 1"], ["note", "length is greater than 3"]]
            );
        }
    }

    #[cfg(feature = "validator")]
    mod by_validator {
        use super::*;
        use crate::Procedure;
        use ::validator::{Validate, ValidationError};

        #[derive(Validate)]
        #[validate(schema(function = "not_both", skip_on_field_errors = false))]
        struct Order {
            #[validate(length(max = 3), custom(function = "no_x"))]
            note: String,
            #[validate(nested)]
            lines: Vec<Line>,
            #[validate(nested)]
            gift: Option<Line>,
        }

        #[derive(Validate)]
        struct Line {
            #[validate(range(min = 1, message = "is not positive"))]
            count: u32,
        }

        fn not_both(order: &Order) -> Result<(), ValidationError> {
            let both = order.gift.is_some() && !order.lines.is_empty();
            if both { Err(ValidationError::new("not_both")) } else { Ok(()) }
        }

        fn no_x(note: &str) -> Result<(), ValidationError> {
            if note.contains('x') { Err(ValidationError::new("no_x")) } else { Ok(()) }
        }

        const ORDER: Procedure<Order, ()> = Procedure::new("order").with_check(validator);

        fn order(note: &str, counts: &[u32], gift: Option<u32>) -> Result {
            let lines = counts.iter().map(|&count| Line { count }).collect();
            ORDER.validate(&Order { note: note.into(), lines, gift: gift.map(|count| Line { count }) })
        }

        #[test]
        fn rules_of_validator_are_checked_with_their_paths() {
            assert!(order("abc", &[1, 2], None).is_ok());
            assert_eq!(
                fields(order("abxd", &[1, 0], Some(0))),
                [
                    ["", "fails the rule not_both"],
                    ["gift.count", "is not positive"],
                    ["lines[1].count", "is not positive"],
                    ["note", "fails the rule length, max 3"],
                    ["note", "fails the rule no_x"],
                ]
            );
        }

        #[test]
        fn a_list_of_structs_has_paths_of_its_own() {
            let lines = vec![Line { count: 1 }, Line { count: 0 }];
            assert_eq!(fields(validator(&lines)), [["[1].count", "is not positive"]]);
        }
    }
}
