"""The tools of an agent made fit for its model's wire once, not with every call."""

from __future__ import annotations

from pydantic_ai.models import Model, ModelRequestParameters


class KeptTools(Model):
    """Stands before a model of the layer, which would copy and walk every tool's schema anew for each request.

    Who asks keeps its parameters and does not change them: the same object is the same tools.
    """

    _kept: tuple[ModelRequestParameters, ModelRequestParameters] | None = None

    def customize_request_parameters(self, model_request_parameters: ModelRequestParameters) -> ModelRequestParameters:
        if self._kept is None or self._kept[0] is not model_request_parameters:
            made = super().customize_request_parameters(model_request_parameters)
            self._kept = model_request_parameters, made
        return self._kept[1]
