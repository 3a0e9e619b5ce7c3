"""Kinto as a WSGI application, by the settings file that KINTO_INI names."""

import configparser
import logging.config
import os

import kinto

FILE = os.environ["KINTO_INI"]
logging.config.fileConfig(FILE, disable_existing_loggers=False)
settings = configparser.ConfigParser(interpolation=None)
settings.read(FILE)
application = kinto.main(dict(settings["DEFAULT"]), **dict(settings["app:main"]))
