"""`/openapi.json`, and `/docs` to browse it: Swagger UI from the installed package, nothing from elsewhere."""

from importlib.util import find_spec
from pathlib import Path

import msgspec
from litestar import Response, Router, get
from litestar.static_files import create_static_files_router

from milepost.edge import AnyRequest, page_headers
from milepost.openapi import document

PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Milepost API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#ui", deepLinking: true, persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout", validatorUrl: null, docExpansion: "list",
  defaultModelsExpandDepth: 0
});
"""
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "connect-src 'self'",
)


@get("/docs")
async def page() -> Response[bytes]:
    """The API, to browse."""
    return Response(PAGE, media_type="text/html", headers=page_headers(*POLICY))


@get("/docs/start.js")
async def start() -> Response[bytes]:
    return Response(START, media_type="text/javascript")


@get("/openapi.json")
async def openapi(request: AnyRequest) -> Response[bytes]:
    """The OpenAPI 3.1 document."""
    return Response(msgspec.json.encode(document(request.app)), media_type="application/json")


def _assets() -> Path:
    """The folder of Swagger UI's files. The package is found and not imported: its code would bring Jinja2."""
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package swagger-ui-py is not installed", name="swagger_ui")
    return Path(spec.origin).parent / "static"


router = Router(
    "/",
    route_handlers=[
        page,
        start,
        openapi,
        create_static_files_router(path="/docs/assets", directories=[_assets()]),
    ],
)
