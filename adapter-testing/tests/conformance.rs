//! The suite, in memory.

use adapter_testing::conformance::Subject;

adapter_testing::conformance!(Subject::memory());
