//! Every operator and function of conditions with an example: the reference is
//! written from this table, and a test runs every example.

/// An operator or function.
#[derive(Debug)]
pub struct Function {
    /// What it is called, or its sign.
    pub name: &'static str,
    /// What it takes and gives.
    pub form: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// A condition that uses it.
    pub example: &'static str,
}

const fn function(name: &'static str, form: &'static str, meaning: &'static str, example: &'static str) -> Function {
    Function { name, form, meaning, example }
}

/// The operators, the weakest last.
pub static OPERATORS: &[Function] = &[
    function("!", "`!bool`", "the opposite; unknown stays unknown", "!(p.age < 18)"),
    function("-", "`-number`, `-money`, `-duration`", "the negative", "-p.age == -40"),
    function(
        "*",
        "`number * number`, `money * number`",
        "product; of an int and a double a double; unknown when it does not fit",
        "p.spend * 2 == money('69')",
    ),
    function(
        "/",
        "`number / number`, `money / number`, `money / money`",
        "quotient; of two ints without its fraction; unknown when divided by zero",
        "p.age / 3 == 13",
    ),
    function("%", "`int % int`", "remainder; unknown when divided by zero", "p.age % 7 == 5"),
    function(
        "+",
        "`number + number`, `money + money`, `timestamp + duration`, `duration + duration`",
        "sum; unknown when it does not fit",
        "now + duration('1h') > now",
    ),
    function(
        "-",
        "`number - number`, `money - money`, `timestamp - timestamp`, `timestamp - duration`, `duration - duration`",
        "difference; of two timestamps a duration; not of dates",
        "now - p.joined > duration('1h')",
    ),
    function(
        "==",
        "`any == any` of one type, or two numbers; not of sets",
        "equal; unknown when a side is missing",
        "p.country == 'DE'",
    ),
    function(
        "!=",
        "`any != any` of one type, or two numbers; not of sets",
        "not equal; unknown when a side is missing",
        "p.country != 'AT'",
    ),
    function(
        "<",
        "`a < b` of one type, or two numbers; not of bool, enum and set",
        "less; texts by their characters",
        "p.age < 41",
    ),
    function("<=", "`a <= b`, as `<`", "less or equal", "p.spend <= money('34.50')"),
    function(">", "`a > b`, as `<`", "greater", "p.birthday > date('1980-01-01')"),
    function(">=", "`a >= b`, as `<`", "greater or equal", "p.score >= 0.5"),
    function(
        "in",
        "`any in [list]`, `string in set`",
        "one of the list, or a member of the set",
        "p.country in ['DE', 'AT'] && 'tea' in p.tags",
    ),
    function(
        "&&",
        "`bool && bool`",
        "both; false when one is false, even if the other is unknown",
        "p.vip && p.age > 30",
    ),
    function(
        "||",
        "`bool || bool`",
        "either; true when one is true, even if the other is unknown",
        "p.vip || p.city == 'Bonn'",
    ),
    function("? :", "`bool ? any : any`", "a choice; unknown when the question is", "(p.vip ? 10 : 20) == 10"),
];

/// The functions.
pub static FUNCTIONS: &[Function] = &[
    function(
        "has",
        "`has(attribute)`",
        "whether there is a value; never unknown; false of an empty set",
        "has(p.country) && !has(p.city)",
    ),
    function(
        "size",
        "`size(string)`, `size(set)`, `size(list)`, `size(X.filter(...))`",
        "characters, members",
        "size(p.tags) == 2 && p.country.size() == 2",
    ),
    function("startsWith", "`string.startsWith(string)`", "begins with", "p.country.startsWith('D')"),
    function("endsWith", "`string.endsWith(string)`", "ends with", "p.country.endsWith('E')"),
    function("contains", "`string.contains(string)`", "holds", "p.country.contains('E')"),
    function(
        "matches",
        "`string.matches('pattern')`",
        "the regular expression is found anywhere in it (RE2 style, in time linear in the text)",
        "p.country.matches('^[A-Z]{2}$')",
    ),
    function(
        "exists",
        "`X.exists(name, condition)`",
        "true for at least one element of the set or list",
        "p.tags.exists(t, t.startsWith('go'))",
    ),
    function(
        "all",
        "`X.all(name, condition)`",
        "true for every element; true of an empty set",
        "p.tags.all(t, size(t) >= 3)",
    ),
    function(
        "exists_one",
        "`X.exists_one(name, condition)`",
        "true for exactly one element",
        "['tea', 'rum'].exists_one(c, c in p.tags)",
    ),
    function(
        "filter",
        "`size(X.filter(name, condition))`",
        "the elements for which it is true; only under `size`",
        "size(p.tags.filter(t, t != 'tea')) == 1",
    ),
    function("money", "`money('12.50')`", "an amount in the one currency", "p.spend > money('12.50')"),
    function("date", "`date('2011-01-31')`", "a date", "p.birthday < date('2011-01-31')"),
    function(
        "timestamp",
        "`timestamp('2011-01-31T08:00:00Z')`",
        "a moment",
        "p.joined > timestamp('2011-01-31T08:00:00Z')",
    ),
    function(
        "duration",
        "`duration('1h30m')`",
        "a time span in `w`, `d`, `h`, `m`, `s`, `ms`, `us`",
        "now - p.joined < duration('14d')",
    ),
    function(
        "double",
        "`double(number)`, `double(money)`",
        "as a double; money in major units",
        "double(p.spend) == 34.5",
    ),
    function("int", "`int(number)`", "without its fraction; unknown when it does not fit", "int(p.score * 3.0) == 1"),
    function(
        "getFullYear",
        "`timestamp.getFullYear()`, of a date too",
        "the year; like all of these in UTC, or in a literal time zone: `now.getFullYear('Europe/London')`",
        "now.getFullYear() == 2011",
    ),
    function(
        "getMonth",
        "`timestamp.getMonth()`, of a date too",
        "the month, 0 is January",
        "p.birthday.getMonth() == 5",
    ),
    function("getDate", "`timestamp.getDate()`, of a date too", "day of the month from 1", "p.birthday.getDate() == 3"),
    function(
        "getDayOfMonth",
        "`timestamp.getDayOfMonth()`, of a date too",
        "day of the month from 0",
        "p.birthday.getDayOfMonth() == 2",
    ),
    function(
        "getDayOfWeek",
        "`timestamp.getDayOfWeek()`, of a date too",
        "day of the week, 0 is Sunday",
        "now.getDayOfWeek() == 0",
    ),
    function(
        "getDayOfYear",
        "`timestamp.getDayOfYear()`, of a date too",
        "day of the year from 0",
        "now.getDayOfYear() == 71",
    ),
    function(
        "getHours",
        "`timestamp.getHours()`, `duration.getHours()`",
        "the hour, 0 to 23; of a duration all its whole hours",
        "now.getHours('Europe/Berlin') == 8",
    ),
    function(
        "getMinutes",
        "`timestamp.getMinutes()`, `duration.getMinutes()`",
        "the minute, 0 to 59; of a duration all its whole minutes",
        "now.getMinutes() == 6",
    ),
    function(
        "getSeconds",
        "`timestamp.getSeconds()`, `duration.getSeconds()`",
        "the second, 0 to 59; of a duration all its whole seconds",
        "now.getSeconds('+02:00') == 40",
    ),
    function(
        "getMilliseconds",
        "`timestamp.getMilliseconds()`",
        "the millisecond, 0 to 999",
        "now.getMilliseconds() == 0",
    ),
];
