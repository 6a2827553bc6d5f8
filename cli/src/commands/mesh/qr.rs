//! A ticket as a picture of characters.

use core::fmt::Display;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::error::Failure;

/// Upper case is what a QR code holds most compactly, and what a ticket does not mind. Light on dark, as terminals are.
pub(super) fn draw(ticket: &str) -> Result<impl Display, Failure> {
    let code = QrCode::with_error_correction_level(ticket.to_ascii_uppercase(), EcLevel::L).map_err(|error| {
        Failure::usage(format!("the ticket does not fit a QR code: {error}")).fix("use fewer labels")
    })?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_the_width_of_a_terminal() {
        let drawn = draw(&format!("shoal1{}", "a2".repeat(150))).expect("it fits").to_string();

        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        assert!(drawn.lines().count() <= 40);
    }
}
