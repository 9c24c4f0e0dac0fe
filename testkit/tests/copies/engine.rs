//! The same on older engines.

/// Makes a test of each scenario for each of the older engines.
macro_rules! both {
    ($($name:ident($server:ident) $body:block)*) => {
        // Between the other two in everything that is tried here: what differs, differs on Redis 7.0 too.
        mod valkey_9_0 {
            use super::*;
            mod longest {
                use super::*;
                $(#[test]
                #[ignore = "longest: the same on another engine"]
                fn $name() {
                    let $server = valkeeper_testkit::program::fetched("valkey-9.0.0/valkey-server");
                    $body
                })*
            }
        }
        mod redis_7_0 {
            use super::*;
            $(#[test]
            #[ignore = "long: the same on another engine"]
            fn $name() {
                let $server = valkeeper_testkit::program::fetched("redis-7.0/redis-server");
                $body
            })*
        }
    };
}
pub(crate) use both;
