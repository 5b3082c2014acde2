"""The kinds of panels that the boards are made of, each with title, description and unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap as heatmap_builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.builders import stat as stat_builders
from grafana_foundation_sdk.builders import table as table_builders
from grafana_foundation_sdk.builders import timeseries as timeseries_builders
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

DATASOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
HALF: Final = 12
THIRD: Final = 8
QUARTER: Final = 6
FULL: Final = 24
HEIGHT: Final = 8

GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"


@dataclass(frozen=True, slots=True)
class Query:
    """A query and the name of what it shows, in which ``{{label}}`` stands for a label's value."""

    expression: str
    legend: str
    exemplars: bool = False
    right_axis_unit: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: an instant query, its heading and its unit."""

    heading: str
    expression: str
    unit: str
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Values above which something is a warning, or critical; ``low``: below which it is bad."""

    warning: float | None = None
    critical: float | None = None
    low: float | None = None

    def thresholds(self) -> dashboard_builders.ThresholdsConfig:
        """Return the limits as Grafana's thresholds: steps of colour, lowest first."""
        if self.low is not None:
            steps = [(None, RED), (self.low, GREEN)]
        else:
            steps = [(None, GREEN), (self.warning, ORANGE), (self.critical, RED)]
            steps = [step for step in steps if step[0] is not None or step[1] == GREEN]
        return (
            dashboard_builders.ThresholdsConfig()
            .mode(dashboard.ThresholdsMode.ABSOLUTE)
            .steps([dashboard.Threshold(value, colour) for value, colour in steps])
        )


def graph(  # noqa: PLR0913  # each parameter is a property of Grafana's panel
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    limits: Limits | None = None,
    span: int = HALF,
    stacked: bool = False,
    maximum: float | None = None,
    signed: bool = False,
) -> timeseries_builders.Panel:
    """Return curves over time, with a line at each limit, above 0 unless they are ``signed``."""
    panel = (
        timeseries_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(span)
        .height(HEIGHT)
        .fill_opacity(10)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if not signed:
        panel.min(0)
    if maximum is not None:
        panel.max(maximum)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if limits is not None:
        panel.thresholds(limits.thresholds()).thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(
                common.GraphThresholdsStyleMode.DASHED
            )
        )
    for query in queries:
        panel.with_target(
            prometheus_builders.Dataquery()
            .expr(query.expression)
            .legend_format(query.legend)
            .exemplar(query.exemplars)
            .range()
        )
        if query.right_axis_unit:
            panel.override_by_name(
                query.legend,
                [
                    dashboard.DynamicConfigValue("custom.axisPlacement", "right"),
                    dashboard.DynamicConfigValue("custom.axisLabel", query.legend),
                    dashboard.DynamicConfigValue("unit", query.right_axis_unit),
                ],
            )
    return panel


def stat(  # noqa: PLR0913  # each parameter is a property of Grafana's panel
    title: str,
    description: str,
    unit: str,
    expression: str,
    *,
    legend: str = "",
    limits: Limits | None = None,
    span: int = QUARTER,
    decimals: int | None = None,
) -> stat_builders.Panel:
    """Return the number that each series of the query has at the end of the range."""
    panel = (
        stat_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(span)
        .height(HEIGHT // 2)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds((limits or Limits()).thresholds())
        .with_target(
            prometheus_builders.Dataquery()
            .expr(expression)
            .legend_format(legend or title)
            .instant()
        )
    )
    return panel if decimals is None else panel.decimals(decimals)


def heatmap(
    title: str, description: str, unit: str, expression: str, *, span: int = FULL
) -> heatmap_builders.Panel:
    """Return the buckets of a histogram over time, with exemplars that link to traces."""
    return (
        heatmap_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("short")
        .span(span)
        .height(HEIGHT)
        .calculate(False)
        .color(
            heatmap_builders.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .rows_frame(heatmap_builders.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .y_axis(
            heatmap_builders.YAxisConfig()
            .unit(unit)
            .axis_placement(common.AxisPlacement.LEFT)
            .reverse(False)
        )
        .with_target(
            prometheus_builders.Dataquery()
            .expr(expression)
            .format(PromQueryFormat.HEATMAP)
            .legend_format("{{le}}")
            .exemplar(True)
            .range()
        )
    )


def table(
    title: str, description: str, rows: str, columns: Sequence[Column], *, span: int = FULL
) -> table_builders.Panel:
    """Return a table with a row for each value of the labels ``rows``, by which queries sum."""
    names = {f"Value #{chr(ord('A') + index)}": c.heading for index, c in enumerate(columns)}
    keys = [key.strip() for key in rows.split(",")]
    panel = (
        table_builders.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("short")
        .span(span)
        .height(HEIGHT)
        .with_transformation(dashboard.DataTransformerConfig("merge", options={}))
        .with_transformation(
            dashboard.DataTransformerConfig(
                "organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {
                        name: index for index, name in enumerate(["Time", *keys, *names])
                    },
                    "renameByName": names,
                },
            )
        )
    )
    for column in columns:
        panel.with_target(
            prometheus_builders.Dataquery()
            .expr(column.expression)
            .format(PromQueryFormat.TABLE)
            .instant()
        )
        properties = [dashboard.DynamicConfigValue("unit", column.unit)]
        if column.limits is not None:
            properties += [
                dashboard.DynamicConfigValue("thresholds", column.limits.thresholds().build()),
                dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel.override_by_name(column.heading, properties)
    return panel
