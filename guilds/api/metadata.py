"""The response to `OPTIONS`."""

from typing import TYPE_CHECKING

from rest_framework.metadata import BaseMetadata
from rest_framework.request import Request

if TYPE_CHECKING:
    # A circular import at run time: `views` imports the metadata class from the settings, which is this one.
    from rest_framework.views import APIView


class NoMetadata(BaseMetadata):
    """Return no body: `Allow` lists the methods, and the OpenAPI document describes them."""

    def determine_metadata(self, request: Request, view: "APIView") -> None:
        return None
