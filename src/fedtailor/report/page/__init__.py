"""One run as a page: a file for a browser that needs no network and prints well."""

from .page import check_page, live_page_of, main_of, page_of, write_page

__all__ = ["check_page", "live_page_of", "main_of", "page_of", "write_page"]
