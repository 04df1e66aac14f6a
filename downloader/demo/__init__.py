"""A demonstration without the Internet: ``python -m downloader.demo`` serves media to gdl and shows what it does."""
