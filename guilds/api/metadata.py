"""What `OPTIONS` answers."""

from typing import TYPE_CHECKING

from rest_framework.metadata import BaseMetadata
from rest_framework.request import Request

if TYPE_CHECKING:
    # That module imports the metadata of the settings, which is this.
    from rest_framework.views import APIView


class NoMetadata(BaseMetadata):
    """`Allow` says what there is, and the API's document the rest."""

    def determine_metadata(self, request: Request, view: "APIView") -> None:
        return None
