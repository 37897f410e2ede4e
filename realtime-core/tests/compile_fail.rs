//! The mistakes that applications make do not compile, and the error names the mistake.

#[test]
fn mistakes_are_named_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

#[cfg(feature = "schema")]
#[test]
fn a_missing_schema_is_named_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail_schema/*.rs");
}
