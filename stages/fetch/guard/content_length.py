"""The length that a response declares, by RFC 9110, 8.6."""

import http.client
import re
from email.message import Message


def say_once(headers: Message) -> None:
    """Keep one Content-Length that is a number, or none."""
    lines = [str(line) for line in headers.get_all("Content-Length", [])]
    values = {value.strip() for line in lines for value in line.split(",")}
    del headers["Content-Length"]
    if len(values) == 1 and re.fullmatch("[0-9]{1,18}", number := values.pop()):
        headers["Content-Length"] = number


class MeasuredResponse(http.client.HTTPResponse):
    """Accepts several Content-Length headers of the same number as one.

    An invalid number counts as none. Raises HTTPException for two different numbers: nobody can
    tell which one is right.
    """

    def begin(self) -> None:
        super().begin()
        lines = [str(line).strip() for line in self.headers.get_all("Content-Length", [])]
        values = {value.strip() for line in lines for value in line.split(",")}
        numbers = {int(value) for value in values if re.fullmatch("[0-9]{1,18}", value)}
        if len(numbers) > 1:
            self.close()
            raise http.client.HTTPException("two lengths of one answer")
        if not lines or (len(lines) == 1 and re.fullmatch("[0-9]{1,18}", lines[0])):
            return
        del self.headers["Content-Length"]
        if len(values) > 1 or not numbers:
            return
        (number,) = numbers
        self.headers["Content-Length"] = str(number)
        is_empty = self.status in (204, 304) or self._method == "HEAD"  # type: ignore[attr-defined]
        if self.length is None and not self.chunked and not is_empty:
            self.length = number
            self.will_close = self._check_close()  # type: ignore[attr-defined]
