"""An AI assistant API that is ready for production; one module for each topic of the course."""
