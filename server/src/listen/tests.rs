//! Real sockets against [`super::serve`], with short limits.
