"""One model of several: the mean of what users' models say, on a scale that is common to all (federated averaging;
McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017).
"""

from __future__ import annotations

import math
from typing import List, Optional, Sequence, Tuple

from .outcome import Predictions, Results
from .table import Table


def averaged(results: Results) -> Optional[Tuple[Table, Optional[Table]]]:
    """The mean of the users' models weighted by their rows, and the scale it is of."""
    fitted = [(user.rows[1] - user.rows[0], user.output) for user in results if isinstance(user.output, Predictions)]
    parts = [(rows, output.model.values(), output.scale) for rows, output in fitted if output.model is not None]
    if not parts or len({len(weights) for _, weights, _ in parts}) != 1:
        return None
    total = sum(rows for rows, _, _ in parts)
    scales = [(rows, scale) for rows, _, scale in parts if scale is not None]
    if len(scales) < len(parts):
        mean = [sum(rows * weights[place] for rows, weights, _ in parts) / total for place in range(len(parts[0][1]))]
        return Table.of([mean]), None
    # Each user's rows were standardised by their own scale: a mean is only of models on a common one.
    common = _pooled(scales)
    models = [(rows, _rescaled(weights, scale, common)) for rows, weights, scale in parts if scale is not None]
    mean = [sum(rows * weights[place] for rows, weights in models) / total for place in range(len(parts[0][1]))]
    return Table.of([mean]), common


def _pooled(scales: Sequence[Tuple[int, Table]]) -> Table:
    """Means and deviations of all rows together, from those of each part."""
    total = sum(rows for rows, _ in scales)
    means, deviations = [], []
    for column in range(scales[0][1].columns):
        mean = sum(rows * scale[0][column] for rows, scale in scales) / total
        variance = (
            sum(rows * (scale[1][column] ** 2 + (scale[0][column] - mean) ** 2) for rows, scale in scales) / total
        )
        means.append(mean)
        deviations.append(math.sqrt(variance))
    return Table.of([means, deviations])


def _rescaled(weights: Sequence[float], old: Table, new: Table) -> List[float]:
    """The same model for rows that are standardised by another scale."""
    *slopes, intercept = weights
    found = []
    for column, slope in enumerate(slopes):
        # A column that did not vary said nothing: its weight is 0.
        per_unit = slope / old[1][column] if old[1][column] > 0 else 0.0
        intercept += per_unit * (new[0][column] - old[0][column])
        found.append(per_unit * new[1][column])
    return [*found, intercept]
