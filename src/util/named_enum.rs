//! An enum whose variants have names in replies, and a map that has one value for each variant.
//!
//! Variants, names and places in the map come from one list, so a variant that is added later has its place
//! everywhere, and no access can miss.

/// Declares the enum, its `ALL` and `name()`, and the map.
macro_rules! named_enum {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident {
            $($(#[$doc:meta])* $variant:ident = $name:ident,)+
        }
        $(#[$map_meta:meta])*
        pub struct $map:ident;
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum {
            $($(#[$doc])* $variant,)+
        }

        impl $enum {
            /// Every variant, in the order of the discriminants.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The name in replies and documents.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)+
                }
            }
        }

        $(#[$map_meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $map<T> {
            $($name: T,)+
        }

        impl<T> $map<T> {
            /// Every variant with its value.
            pub fn iter(&self) -> impl Iterator<Item = ($enum, &T)> {
                $enum::ALL.into_iter().zip(self.values())
            }

            /// The values alone.
            pub fn values(&self) -> impl Iterator<Item = &T> {
                [$(&self.$name),+].into_iter()
            }
        }

        impl<T> std::ops::Index<$enum> for $map<T> {
            type Output = T;

            fn index(&self, of: $enum) -> &T {
                match of {
                    $($enum::$variant => &self.$name,)+
                }
            }
        }

        impl<T> std::ops::IndexMut<$enum> for $map<T> {
            fn index_mut(&mut self, of: $enum) -> &mut T {
                match of {
                    $($enum::$variant => &mut self.$name,)+
                }
            }
        }

        #[cfg(test)]
        impl<T> From<[T; $enum::ALL.len()]> for $map<T> {
            fn from([$($name),+]: [T; $enum::ALL.len()]) -> Self {
                Self { $($name),+ }
            }
        }
    };
}

pub(crate) use named_enum;
