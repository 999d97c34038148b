//! Symmetric matrices of four parameters.

/// Parameters of a model.
pub(super) const N: usize = 4;
/// One number per parameter.
pub(super) type Vector = [f64; N];
/// One number per pair of parameters.
pub(super) type Matrix = [Vector; N];

/// The inner product.
pub(super) fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inverse of a positive definite matrix; `None` when it is not, as far as
/// the numbers tell. By Cholesky's decomposition.
pub(super) fn inverse(matrix: &Matrix) -> Option<Matrix> {
    let lower = cholesky(matrix)?;
    let mut inverse = [[0.0; N]; N];
    for column in 0..N {
        let mut unit = [0.0; N];
        unit[column] = 1.0;
        let solved = solve(&lower, unit);
        for row in 0..N {
            inverse[row][column] = solved[row];
        }
    }
    Some(inverse)
}

fn cholesky(matrix: &Matrix) -> Option<Matrix> {
    let mut lower = [[0.0; N]; N];
    for row in 0..N {
        for column in 0..=row {
            let sum: f64 = (0..column).map(|k| lower[row][k] * lower[column][k]).sum();
            let rest = matrix[row][column] - sum;
            lower[row][column] = match row == column {
                true if rest <= matrix[row][row] * 1e-13 || !rest.is_finite() => return None,
                true => rest.sqrt(),
                false => rest / lower[column][column],
            };
        }
    }
    Some(lower)
}

fn solve(lower: &Matrix, mut right: Vector) -> Vector {
    for row in 0..N {
        let sum: f64 = (0..row).map(|k| lower[row][k] * right[k]).sum();
        right[row] = (right[row] - sum) / lower[row][row];
    }
    for row in (0..N).rev() {
        let sum: f64 = (row + 1..N).map(|k| lower[k][row] * right[k]).sum();
        right[row] = (right[row] - sum) / lower[row][row];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let matrix = [[4.0, 1.0, 0.5, 0.0], [1.0, 3.0, 0.2, 0.1], [0.5, 0.2, 1e-4 + 0.2, 0.0], [0.0, 0.1, 0.0, 2.0]];
        let inverse = inverse(&matrix).unwrap();
        for (row, line) in matrix.iter().enumerate() {
            let product = |column: usize| -> f64 { line.iter().zip(&inverse).map(|(a, b)| a * b[column]).sum() };
            assert!((0..N).all(|column| (product(column) - f64::from(u8::from(row == column))).abs() < 1e-9));
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_none() {
        let mut matrix = [[0.0; N]; N];
        assert!(inverse(&matrix).is_none());
        (0..N).for_each(|at| matrix[at][at] = if at == 2 { -1.0 } else { 1.0 });
        assert!(inverse(&matrix).is_none());
    }
}
