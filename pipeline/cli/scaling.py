"""Commands for studies on many machines: storage-proxy."""

from typing import Annotated

import typer

from pipeline.cli.options import app


@app.command()
def storage_proxy(
    storage: Annotated[str, typer.Option(metavar="URL", help="The database to serve, a SQLAlchemy URL.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at. There is no password: who reaches it can change every study.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")] = 13000,
) -> None:
    """Serve a study storage to workers that cannot reach the database; they name --storage grpc://HOST:PORT."""
    from pipeline.study.proxy_server import serve

    serve(storage, host, port, say=typer.echo)
