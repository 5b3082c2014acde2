"""What all boards have in common: variables, links to each other, and numbered panels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from operations.dashboards.panels import DATASOURCE
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder

    Panel = Builder[models.Panel]

TAG: Final = "riptide"
ALL: Final = models.VariableOption(selected=True, text=["All"], value=["$__all"])
# In a query "All" becomes this pattern, which is shorter than a list of all values.
ALL_VALUE: Final = ".+"


def _datasource() -> builders.DatasourceVariable:
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _labels(name: str, label: str, query: str) -> builders.QueryVariable:
    """Return a variable with the values of a label, of which several may be selected."""
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(ALL_VALUE)
        .current(ALL)
    )


def _job() -> builders.QueryVariable:
    return _labels("job", "Job", f"label_values({catalog.BUILD_INFO.prometheus_name}, job)")


def _instance() -> builders.QueryVariable:
    build_info = catalog.BUILD_INFO.prometheus_name
    return _labels("instance", "Instance", f'label_values({build_info}{{job=~"$job"}}, instance)')


def protocol() -> builders.QueryVariable:
    """Return the variable for boards whose metrics have a protocol."""
    connections = catalog.ACTIVE_CONNECTIONS.prometheus_name
    return _labels("protocol", "Protocol", f'label_values({connections}{{job=~"$job"}}, protocol)')


def price() -> builders.TextBoxVariable:
    """Return the price of a gigabyte sent."""
    return (
        builders.TextBoxVariable("price")
        .label("Price of a GB sent")
        .description("What the network provider charges for 1,000,000,000 bytes.")
        .default_value("0.09")
        .current(models.VariableOption(selected=True, text="0.09", value="0.09"))
    )


def collector() -> builders.QueryVariable:
    """Return the jobs by which Prometheus scrapes OpenTelemetry Collectors."""
    return _labels(
        "collector", "Collector job", 'label_values({__name__=~"otelcol_process_uptime.*"}, job)'
    )


def board(  # noqa: PLR0913  # each parameter is a property of Grafana's dashboard
    name: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[Panel]],
    *,
    variables: Sequence[Builder[models.VariableModel]] = (),
    refresh: str = "30s",
    since: str = "now-1h",
) -> dict[str, str]:
    """Return the file of a dashboard; ``rows`` has panels by the heading of their row, or ""."""
    builder = (
        builders.Dashboard(title)
        .uid(f"riptide-{name}")
        .description(description)
        .tags([TAG])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .variables([_datasource(), _job(), _instance(), *variables])
        .link(
            builders.DashboardLink("Riptide")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .icon("external link")
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for heading, panels in rows.items():
        if heading:
            builder.with_row(builders.Row(heading))
        for panel in panels:
            builder.with_panel(panel)
    text = json.dumps(_complete(builder.build()), indent=2, ensure_ascii=False)
    return {f"dashboards/{name}.json": f"{text}\n"}


def _complete(built: models.Dashboard) -> dict[str, Any]:
    """Give panels their ids and queries their letters, which the SDK leaves out."""
    document: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder, sort_keys=True))
    for variable in document["templating"]["list"]:
        # The SDK writes these for every variable, but Grafana has them for intervals only.
        for key in ("auto", "auto_count", "auto_min"):
            del variable[key]
    for number, panel in enumerate(document["panels"], 1):
        panel["id"] = number
        for letter, target in enumerate(panel.get("targets", [])):
            target["refId"] = chr(ord("A") + letter)
            target["datasource"] = panel["datasource"]
    return document
