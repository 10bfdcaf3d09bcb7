"""Holds an image and its Dockerfile against rules that every image should keep."""
