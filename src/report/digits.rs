//! Large digits and letters that can be read from a distance.
//!
//! **Invariant:** pure; all rows of a figure have the same number of cells.

/// Three by five dots each. A terminal cell is twice as high as wide, so a dot is two cells wide.
const FIGURES: [(char, [&str; 5]); 22] = [
    (' ', ["   ", "   ", "   ", "   ", "   "]),
    ('A', ["###", "# #", "###", "# #", "# #"]),
    ('D', ["## ", "# #", "# #", "# #", "## "]),
    ('E', ["###", "#  ", "###", "#  ", "###"]),
    ('F', ["###", "#  ", "###", "#  ", "#  "]),
    ('I', ["###", " # ", " # ", " # ", "###"]),
    ('L', ["#  ", "#  ", "#  ", "#  ", "###"]),
    ('O', ["###", "# #", "# #", "# #", "###"]),
    ('P', ["###", "# #", "###", "#  ", "#  "]),
    ('T', ["###", " # ", " # ", " # ", " # "]),
    ('U', ["# #", "# #", "# #", "# #", "###"]),
    ('0', ["###", "# #", "# #", "# #", "###"]),
    ('1', [" # ", "## ", " # ", " # ", "###"]),
    ('2', ["###", "  #", "###", "#  ", "###"]),
    ('3', ["###", "  #", "###", "  #", "###"]),
    ('4', ["# #", "# #", "###", "  #", "  #"]),
    ('5', ["###", "#  ", "###", "  #", "###"]),
    ('6', ["###", "#  ", "###", "# #", "###"]),
    ('7', ["###", "  #", "  #", "  #", "  #"]),
    ('8', ["###", "# #", "###", "# #", "###"]),
    ('9', ["###", "# #", "###", "  #", "###"]),
    ('%', ["# #", "  #", " # ", "#  ", "# #"]),
];

/// The number of rows of a figure at `zoom`.
pub(crate) const fn height(zoom: usize) -> usize {
    5 * zoom
}

/// `text` in large figures; characters without a figure are left out. A dot is `zoom` rows by two `zoom` cells.
pub(crate) fn large(text: &str, zoom: usize) -> Vec<String> {
    let figures = || text.chars().filter_map(|c| FIGURES.iter().find(|(figure, _)| *figure == c));
    let row = |at: usize| {
        let mut row = String::new();
        for (_, dots) in figures() {
            for dot in dots[at].chars().chain([' ']) {
                row.extend(std::iter::repeat_n(if dot == '#' { '█' } else { ' ' }, 2 * zoom));
            }
        }
        row
    };
    (0..5).flat_map(|at| std::iter::repeat_n(row(at), zoom)).collect()
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
