//! Large digits and letters that can be read from a distance.
//!
//! **Invariant:** pure; all rows of a figure have the same number of cells.

/// Three by five dots each. A terminal cell is twice as high as wide, so a dot is two cells wide.
const FIGURES: [(char, u16); 22] = [
    (' ', dots(["   ", "   ", "   ", "   ", "   "])),
    ('A', dots(["###", "# #", "###", "# #", "# #"])),
    ('D', dots(["## ", "# #", "# #", "# #", "## "])),
    ('E', dots(["###", "#  ", "###", "#  ", "###"])),
    ('F', dots(["###", "#  ", "###", "#  ", "#  "])),
    ('I', dots(["###", " # ", " # ", " # ", "###"])),
    ('L', dots(["#  ", "#  ", "#  ", "#  ", "###"])),
    ('O', dots(["###", "# #", "# #", "# #", "###"])),
    ('P', dots(["###", "# #", "###", "#  ", "#  "])),
    ('T', dots(["###", " # ", " # ", " # ", " # "])),
    ('U', dots(["# #", "# #", "# #", "# #", "###"])),
    ('0', dots(["###", "# #", "# #", "# #", "###"])),
    ('1', dots([" # ", "## ", " # ", " # ", "###"])),
    ('2', dots(["###", "  #", "###", "#  ", "###"])),
    ('3', dots(["###", "  #", "###", "  #", "###"])),
    ('4', dots(["# #", "# #", "###", "  #", "  #"])),
    ('5', dots(["###", "#  ", "###", "  #", "###"])),
    ('6', dots(["###", "#  ", "###", "# #", "###"])),
    ('7', dots(["###", "  #", "  #", "  #", "  #"])),
    ('8', dots(["###", "# #", "###", "# #", "###"])),
    ('9', dots(["###", "# #", "###", "  #", "###"])),
    ('%', dots(["# #", "  #", " # ", "#  ", "# #"])),
];

/// The dots of a figure as bits, row by row; the last one is bit 0.
const fn dots(rows: [&str; 5]) -> u16 {
    let (mut dots, mut at) = (0, 0);
    while at < 15 {
        dots = dots << 1 | (rows[at / 3].as_bytes()[at % 3] == b'#') as u16;
        at += 1;
    }
    dots
}

/// The number of rows of a figure at `zoom`.
pub(crate) const fn height(zoom: usize) -> usize {
    5 * zoom
}

/// `text` in large figures; characters without a figure are left out. A dot is `zoom` rows by two `zoom` cells.
pub(crate) fn large(text: &str, zoom: usize) -> Vec<String> {
    let mut rows = Vec::with_capacity(height(zoom));
    for row in (0..5).rev() {
        let mut cells = String::new();
        for (_, dots) in text.chars().filter_map(|c| FIGURES.iter().find(|(figure, _)| *figure == c)) {
            let dots = dots >> (3 * row);
            for dot in [dots >> 2, dots >> 1, dots, 0] {
                cells.extend(std::iter::repeat_n(if dot & 1 == 1 { '█' } else { ' ' }, 2 * zoom));
            }
        }
        rows.extend(std::iter::repeat_n(cells, zoom));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_straight_edges() {
        for zoom in [1, 2] {
            let rows = large("0123456789%UP TO DATE FAILED", zoom);
            assert_eq!(rows.len(), height(zoom));
            assert!(rows.iter().all(|row| row.chars().count() == 28 * 8 * zoom));
        }
        assert_eq!(large("1x", 1), ["  ██    ", "████    ", "  ██    ", "  ██    ", "██████  "]);
    }
}
