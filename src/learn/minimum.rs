//! Finds the least value of a smooth function of four parameters.
//!
//! The method of Broyden, Fletcher, Goldfarb and Shanno with a backtracking line
//! search, then steps of Newton with the Hessian from differences of the
//! gradient: Nocedal, Wright (2006), "Numerical Optimization", algorithm 6.1 and
//! section 3.3.

use super::matrix::{Matrix, N, Vector, dot, inverse};

/// Most steps of one search.
const STEPS_MAX: u32 = 400;
/// Most steps of Newton.
const NEWTON_MAX: u32 = 25;
/// How flat the function is at its minimum.
const FLAT: f64 = 1e-10;
/// How far one step goes at most, in each parameter.
const STEP_MAX: f64 = 2.0;

/// A function and its gradient.
pub(super) type Function<'a> = &'a dyn Fn(&Vector) -> (f64, Vector);

/// A point where a search ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minimum {
    /// Where.
    pub at: Vector,
    /// The value there.
    pub value: f64,
    /// The largest part of the gradient there.
    pub slope: f64,
}

#[derive(Clone, Copy)]
struct Point {
    at: Vector,
    value: f64,
    gradient: Vector,
}

impl Point {
    fn of(function: Function<'_>, at: Vector) -> Self {
        let (value, gradient) = function(&at);
        Self { at, value, gradient }
    }

    fn slope(&self) -> f64 {
        self.gradient.iter().fold(0.0, |most, part| part.abs().max(most))
    }
}

/// The least value of a function, from the best of several starts.
pub(super) fn minimum(function: Function<'_>, starts: &[Vector]) -> Option<Minimum> {
    let ends = starts.iter().map(|start| descend(function, Point::of(function, *start)));
    let best = ends.filter(|end| end.value.is_finite()).min_by(|a, b| a.value.total_cmp(&b.value))?;
    let best = newton(function, best);
    Some(Minimum { at: best.at, value: best.value, slope: best.slope() })
}

fn descend(function: Function<'_>, mut point: Point) -> Point {
    let mut inverse = identity();
    for _ in 0..STEPS_MAX {
        if point.slope() < FLAT || !point.value.is_finite() {
            break;
        }
        let mut direction = inverse.map(|row| -dot(&row, &point.gradient));
        if dot(&direction, &point.gradient) >= 0.0 {
            inverse = identity();
            direction = point.gradient.map(|part| -part);
        }
        let Some(next) = backtrack(function, &point, &direction) else { break };
        update(&mut inverse, &point, &next);
        point = next;
    }
    point
}

/// The first point on the way down that is enough lower (Armijo's condition).
fn backtrack(function: Function<'_>, from: &Point, direction: &Vector) -> Option<Point> {
    let slope = dot(direction, &from.gradient);
    let longest = direction.iter().fold(0.0, |most: f64, part| part.abs().max(most));
    let mut length = (STEP_MAX / longest).min(1.0);
    for _ in 0..50 {
        let at = std::array::from_fn(|i| from.at[i] + length * direction[i]);
        let next = Point::of(function, at);
        if next.value.is_finite() && next.value <= from.value + 1e-4 * length * slope && next.value < from.value {
            return Some(next);
        }
        length /= 2.0;
    }
    None
}

fn update(inverse: &mut Matrix, from: &Point, to: &Point) {
    let step: Vector = std::array::from_fn(|i| to.at[i] - from.at[i]);
    let change: Vector = std::array::from_fn(|i| to.gradient[i] - from.gradient[i]);
    let curvature = dot(&step, &change);
    if curvature <= 1e-14 {
        return;
    }
    let moved = inverse.map(|row| dot(&row, &change));
    let factor = (1.0 + dot(&change, &moved) / curvature) / curvature;
    for (i, row) in inverse.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell += factor * step[i] * step[j] - (moved[i] * step[j] + step[i] * moved[j]) / curvature;
        }
    }
}

/// Near the minimum: flat directions need the exact curvature.
fn newton(function: Function<'_>, mut point: Point) -> Point {
    for _ in 0..NEWTON_MAX {
        if point.slope() < FLAT {
            break;
        }
        let Some(inverse) = inverse(&hessian(function, &point.at)) else { break };
        let direction = inverse.map(|row| -dot(&row, &point.gradient));
        let full = Point::of(function, std::array::from_fn(|i| point.at[i] + direction[i]));
        // so near the minimum the value no longer tells, the slope does
        let flatter = full.value <= point.value + 1e-13 * point.value.abs() && full.slope() < point.slope();
        match flatter.then_some(full).or_else(|| backtrack(function, &point, &direction)) {
            Some(next) => point = next,
            None => break,
        }
    }
    point
}

/// The Hessian by central differences of the gradient.
pub(super) fn hessian(function: Function<'_>, at: &Vector) -> Matrix {
    const DIFFERENCE: f64 = 1e-4;
    let moved = |i: usize, by: f64| {
        let mut at = *at;
        at[i] += by;
        function(&at).1
    };
    let rows: Matrix = std::array::from_fn(|i| {
        let (above, below) = (moved(i, DIFFERENCE), moved(i, -DIFFERENCE));
        std::array::from_fn(|j| (above[j] - below[j]) / (2.0 * DIFFERENCE))
    });
    std::array::from_fn(|i| std::array::from_fn(|j| f64::midpoint(rows[i][j], rows[j][i])))
}

fn identity() -> Matrix {
    let mut matrix = [[0.0; N]; N];
    (0..N).for_each(|i| matrix[i][i] = 1.0);
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        // Rosenbrock's function of four parameters: 0 at (1, 1, 1, 1)
        let valley = |at: &Vector| {
            let (mut value, mut gradient) = (0.0, [0.0; N]);
            for i in 0..N - 1 {
                let (across, along) = (at[i + 1] - at[i] * at[i], 1.0 - at[i]);
                value += 100.0 * across * across + along * along;
                gradient[i] += -400.0 * across * at[i] - 2.0 * along;
                gradient[i + 1] += 200.0 * across;
            }
            (value, gradient)
        };
        let found = minimum(&valley, &[[-1.2, 1.0, -1.2, 1.0], [0.1; N]]).unwrap();
        assert!(found.at.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
        assert!(found.slope < 1e-8);
    }
}
