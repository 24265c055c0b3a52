"""`python -m data_samples`: makes the sample province."""

from __future__ import annotations

import time
from pathlib import Path

import click

from data_samples.package import PARCELS, SEED, generate


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The GeoPackage to make.")
@click.option("--parcels", type=int, default=PARCELS, help="How many parcels the province has (200 to 500,000).")
@click.option("--seed", type=int, default=SEED, help="Another seed makes another province.")
def main(out: Path, parcels: int, seed: int) -> None:
    """Make the fictional sample province as one GeoPackage."""
    begun = time.monotonic()
    try:
        generate(out, parcels, seed)
    except (FileExistsError, ValueError, RuntimeError) as err:
        raise click.ClickException(str(err)) from err
    click.echo(f"{out}: {out.stat().st_size / 1e6:.0f} MB in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
