"""Reading the bodies of the API's requests."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser as StockJSONParser


class JSONParser(StockJSONParser):
    """JSON, of which Python's decoder reads no more than some hundred levels. Deeper bodies are a 400 as well."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - It is nested too deeply") from None
