//! Parts of a body: one range of bytes (RFC 9110, section 14). Several at once, and units other than bytes, are answered with
//! the whole, as the standard allows.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shoal_protocol::api::codes;

use super::problem::{ApiError, ApiResult};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// From here to there, both included; to the end where that is not said.
    From(u64, Option<u64>),
    /// The last so many.
    Last(u64),
}

impl Asked {
    /// The bytes that are meant, while nothing is known of the size.
    pub(super) fn without_size(&self) -> Option<Range<u64>> {
        match self {
            Self::From(start, Some(last)) => Some(*start..last.saturating_add(1)),
            Self::From(start, None) => Some(*start..u64::MAX),
            Self::Last(_) => None,
        }
    }

    fn of(self, bytes: u64) -> Option<Range<u64>> {
        let span = match self {
            Self::From(start, last) => start..last.map_or(bytes, |last| last.saturating_add(1).min(bytes)),
            Self::Last(count) => bytes.saturating_sub(count)..bytes,
        };
        (span.start < span.end).then_some(span)
    }
}

/// The one range that is asked for.
pub(super) fn asked(headers: &HeaderMap) -> Option<Asked> {
    let said = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = said.trim().split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok();
    match (first, last) {
        ("", last) => number(last).map(Asked::Last),
        (first, "") => Some(Asked::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From(first, Some(last)))
        }
    }
}

/// How a request is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    span: Range<u64>,
    of: u64,
    is_part: bool,
}

/// Which bytes of a body of this size are sent; an error where none of it are asked for.
pub(super) fn answer(asked: Option<Asked>, bytes: u64) -> ApiResult<Answered> {
    let Some(asked) = asked else { return Ok(Answered { span: 0..bytes, of: bytes, is_part: false }) };
    match asked.of(bytes) {
        Some(span) => Ok(Answered { span, of: bytes, is_part: true }),
        None => Err(ApiError::new(
            codes::BAD_REQUEST,
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the range is outside of the {bytes} bytes"),
            "ask for bytes that there are",
        )),
    }
}

impl Answered {
    /// The answer, with the bytes that `body` gives of this span.
    pub(super) fn with_body(self, body: impl FnOnce(Range<u64>) -> Body) -> Response {
        let Self { span, of, is_part } = self;
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_LENGTH, (span.end - span.start).to_string()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
        ];
        if !is_part {
            return (headers, body(span)).into_response();
        }
        let place = format!("bytes {}-{}/{of}", span.start, span.end - 1);
        (StatusCode::PARTIAL_CONTENT, headers, [(header::CONTENT_RANGE, place)], body(span)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(said: &str, bytes: u64) -> Option<Range<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, said.parse().unwrap());
        answer(asked(&headers), bytes).ok().map(|answered| answered.span)
    }

    #[test]
    fn one_range_is_understood_and_the_rest_is_the_whole() {
        assert_eq!(spans("bytes=0-0", 10), Some(0..1));
        assert_eq!(spans("bytes=2-5", 10), Some(2..6));
        assert_eq!(spans("bytes=8-99", 10), Some(8..10));
        assert_eq!(spans("bytes=4-", 10), Some(4..10));
        assert_eq!(spans("bytes=-3", 10), Some(7..10));
        assert_eq!(spans("bytes=-30", 10), Some(0..10));
        for whole in ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b"] {
            assert_eq!(spans(whole, 10), Some(0..10), "{whole}");
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_had() {
        for none in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(spans(none, 10), None, "{none}");
        }
    }
}
