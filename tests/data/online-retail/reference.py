"""What lifetimes makes of the file: see SOURCE.txt for the command."""

import json
import sys

import lifetimes
import numpy
import pandas
import scipy
from lifetimes import BetaGeoFitter
from lifetimes.utils import summary_data_from_transaction_data

CHECKED = [12347, 12748, 14911, 13113, 12346, 17850, 18287, 14096, 13089, 15311, 18283, 16000, 12350, 17841]

rows = pandas.read_parquet(sys.argv[1])
end = rows.InvoiceDate.max().strftime("%Y-%m-%d")
rows = rows[rows.CustomerID.notna() & (rows.Quantity > 0)].copy()
summary = summary_data_from_transaction_data(
    rows, "CustomerID", "InvoiceDate", freq="D", observation_period_end=end
)
x, t_x, age = summary.frequency, summary.recency, summary["T"]
fitter = BetaGeoFitter(penalizer_coef=0.0).fit(x, t_x, age)


def checked(customer):
    seen = summary.loc[customer, ["frequency", "recency", "T"]]
    alive = fitter.conditional_probability_alive(*seen)
    expected = fitter.conditional_expected_number_of_purchases_up_to_time
    return {
        "customer": customer,
        "frequency": seen.iloc[0],
        "recency": seen.iloc[1],
        "T": seen.iloc[2],
        "alive": float(numpy.asarray(alive).ravel()[0]),
        "expected_30": float(expected(30, *seen)),
        "expected_365": float(expected(365, *seen)),
    }


found = {
    "versions": {
        "python": sys.version.split()[0],
        "lifetimes": lifetimes.__version__,
        "pandas": pandas.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    },
    "rows": len(rows),
    "end": end,
    "customers": len(summary),
    "frequency_sum": float(x.sum()),
    "recency_sum": float(t_x.sum()),
    "T_sum": float(age.sum()),
    "parameters": {name: float(value) for name, value in fitter.params_.items()},
    "standard_errors": {name: float(value) for name, value in fitter.standard_errors_.items()},
    "expected_30_sum": float(fitter.conditional_expected_number_of_purchases_up_to_time(30, x, t_x, age).sum()),
    "customers_checked": [checked(customer) for customer in CHECKED if customer in summary.index],
}
with open(sys.argv[2], "w", encoding="utf-8") as out:
    json.dump(found, out, indent=1)
    out.write("\n")
